// A thousand Slots, two hundred clients, twenty thousand attempts, with leases on objects and on a Redis that is flushed.
import { test } from "node:test";
import { bookings } from "../support/bookings.mjs";

const size = { slots: 1_000, clients: 200, attempts: Number(process.env.ATTEMPTS ?? 20_000), kills: 8 };
for (const [backend, flushes] of [["objects", 0], ["Redis", 3]]) {
  test(`nobody is booked twice and nothing acknowledged is lost, leases on ${backend}`, { timeout: 3_600_000 }, async (t) => {
    const met = await bookings(t, { ...size, backend, flushes });
    for (const [what, times] of Object.entries(met)) if (!times) throw new Error(`nothing was: ${what}`);
  });
}
