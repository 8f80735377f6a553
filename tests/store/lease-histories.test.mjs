// Two hundred histories of concurrent clients of a lease on a real Redis that is killed, emptied and restarted; and mutants,
// each of them caught. The same on an object is a native test.
import { test } from "node:test";
import { histories } from "../support/histories.mjs";

test("200 histories on Redis are those of a lease, and each mutant is caught", (t) => histories(t, { count: 200, part: "histories_on_redis", timeout: 170_000 }));
