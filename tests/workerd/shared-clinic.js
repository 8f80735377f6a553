// A main module for tests: the product, whose clinic's object is in this process, or in another one that CLINIC_AT names, as
// one object serves Workers all over the earth. Counts the answers of the object that are large enough to hold a chart.
import Product, * as real from "./main.js";

export const { Clinic, Shard, Topic } = real;

const LARGE = 100_000;
const counts = { asked: 0, charts: 0 };

async function ask(env, message) {
  const answer = await env.CLINIC.get(env.CLINIC.idFromName("clinic")).ask(message);
  counts.asked += 1;
  if (answer.byteLength > LARGE) {
    counts.charts += 1;
    // An origin that takes its time, so that there is somebody to wait.
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  return answer;
}

/** Asks the process that has the object. */
async function askThere(url, body) {
  const reply = await fetch(`${url}/object`, { method: "POST", body });
  if (!reply.ok) throw new Error(`the other process answered ${reply.status}`);
  return new Uint8Array(await reply.arrayBuffer());
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/object") return new Response(await ask(env, new Uint8Array(await request.arrayBuffer())));
    if (pathname === "/counts") return Response.json(counts);
    const clinic = { ask: (message) => (env.CLINIC_AT ? askThere(env.CLINIC_AT, message) : ask(env, message)) };
    const CLINIC = { idFromName: (name) => name, get: () => clinic };
    return Product.fetch(request, { ...env, CLINIC }, ctx);
  },
};
