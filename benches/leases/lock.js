// @upstash/lock in a Worker, as its documentation has it, behind the same two verbs as ours: POST acquires and waits, DELETE
// releases. It asks nobody who they are; with ?session a session is looked up before, as an application would. POST with
// ?pair releases in the same request what it has acquired.
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis/cloudflare";

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const redis = new Redis({ url: env.REDIS_URL, token: env.REDIS_TOKEN, enableTelemetry: false, latencyLogging: false });
    if (url.searchParams.has("session") && !(await redis.get("session"))) return new Response(null, { status: 401 });
    // The pause between its attempts is its default of 100 ms.
    const attempts = Number(url.searchParams.get("attempts") ?? 1);
    const lock = new Lock({ id: `lock${url.pathname}`, redis, lease: 30_000, retry: { attempts, delay: 100 } });
    if (request.method === "DELETE") {
      lock.config.UUID = url.searchParams.get("uuid");
      return new Response(null, { status: (await lock.release()) ? 204 : 409 });
    }
    if (!(await lock.acquire())) return new Response(null, { status: 409 });
    if (url.searchParams.has("pair")) return new Response(null, { status: (await lock.release()) ? 204 : 409 });
    return Response.json({ uuid: lock.config.UUID }, { status: 201 });
  },
};
