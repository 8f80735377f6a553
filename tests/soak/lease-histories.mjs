// Two thousand histories of concurrent clients of a lease on each backend, and the mutants.
import { test } from "node:test";
import { histories } from "../support/histories.mjs";

test("2,000 histories on each backend are those of a lease, and each mutant is caught", { timeout: 1_800_000 }, (t) =>
  histories(t, { count: 2_000, part: "", timeout: 1_700_000 }));
