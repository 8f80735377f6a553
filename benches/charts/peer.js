// What a team writes by hand: a Worker on Hono that keeps sessions and patients in Redis by @upstash/redis. The session is
// looked up by its token and must not have ended; then the patient is. `/two` awaits one after the other, `/auto` has both
// pipelined into one request, `/floor` makes the least request that could answer and gives its body back as it came.
import { Redis } from "@upstash/redis/cloudflare";
import { Hono } from "hono";

const app = new Hono();
const redis = (env, enableAutoPipelining) =>
  new Redis({ url: env.REDIS_URL, token: env.REDIS_TOKEN, enableAutoPipelining, enableTelemetry: false });

const tokenOf = (c) => c.req.header("authorization")?.slice("Bearer ".length);
const isValid = (session) => session && session.expires > Date.now();

app.get("/two/:key", async (c) => {
  const client = redis(c.env, false);
  const session = await client.get(`session:${tokenOf(c)}`);
  if (!isValid(session)) return c.json({ error: "sign in" }, 401);
  const view = await client.get(`view:${c.req.param("key")}`);
  return view ? c.json(view) : c.json({ error: "not found" }, 404);
});

app.get("/auto/:key", async (c) => {
  const client = redis(c.env, true);
  const [session, view] = await Promise.all([client.get(`session:${tokenOf(c)}`), client.get(`view:${c.req.param("key")}`)]);
  if (!isValid(session)) return c.json({ error: "sign in" }, 401);
  return view ? c.json(view) : c.json({ error: "not found" }, 404);
});

const floor = async (request, env) => {
  const key = new URL(request.url).pathname.slice("/floor/".length);
  const body = JSON.stringify([["GET", `view:${key}`]]);
  const headers = { authorization: `Bearer ${env.REDIS_TOKEN}`, "content-type": "application/json" };
  const reply = await fetch(`${env.REDIS_URL}/pipeline`, { method: "POST", headers, body });
  return new Response(reply.body, { headers: { "content-type": "application/json" } });
};

export default {
  fetch: (request, env, ctx) =>
    new URL(request.url).pathname.startsWith("/floor/") ? floor(request, env) : app.fetch(request, env, ctx),
};
