// Twenty clients book and cancel forty Slots under leases on a Redis that is flushed, on a server that is killed; the large
// one is tests/soak/bookings.mjs.
import { test } from "node:test";
import { bookings } from "../support/bookings.mjs";

test("nobody is booked twice and nothing acknowledged is lost, whatever is killed or flushed", async (t) =>
  bookings(t, { backend: "Redis", slots: 40, clients: 20, attempts: 400, kills: 1, flushes: 1 }));
