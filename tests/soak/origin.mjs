// The outside FHIR server of tests/workerd/origin.test.mjs hangs for ten seconds.
process.env.OUTAGE_MS ??= "10000";
await import("../workerd/origin.test.mjs");
