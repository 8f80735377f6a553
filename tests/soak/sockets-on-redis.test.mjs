// Sockets end with their session also where sessions are kept in Redis.
process.env.BACKENDS = "redis";
await import("../workerd/idle.test.mjs");
await import("../workerd/sockets.test.mjs");
