// A main module for tests: the product, whose clinic's object is in this process, or in another one that CLINIC_AT names, as
// one object serves Workers all over the earth. Counts the answers of the object that are large enough to hold a chart.
import Product, * as real from "./main.js";

export const { Clinic, Shard, Topic } = real;

const LARGE = 100_000;
const counts = { asked: 0, charts: 0 };

async function ask(env, body) {
  const reply = await env.CLINIC.get(env.CLINIC.idFromName("clinic")).fetch("https://object/", { method: "POST", body });
  const answer = await reply.arrayBuffer();
  counts.asked += 1;
  if (answer.byteLength > LARGE) {
    counts.charts += 1;
    // An origin that takes its time, so that there is somebody to wait.
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  return new Response(answer, { status: reply.status });
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/object") return ask(env, await request.arrayBuffer());
    if (pathname === "/counts") return Response.json(counts);
    const fetchClinic = env.CLINIC_AT
      ? (_, { body }) => fetch(`${env.CLINIC_AT}/object`, { method: "POST", body })
      : (_, { body }) => ask(env, body);
    const CLINIC = { idFromName: (name) => name, get: () => ({ fetch: fetchClinic }) };
    return Product.fetch(request, { ...env, CLINIC }, ctx);
  },
};
