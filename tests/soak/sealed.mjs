// tests/workerd/sealed.test.mjs with all sixteen bundles.
process.env.BUNDLES = "16";
await import("../workerd/sealed.test.mjs");
