// A main module for tests: the product, with faults between its parts. What is injected stands in `faults`, which every
// object of the process sees, and is set by POST /faults; nothing of it is in the product.
import { WorkerEntrypoint } from "cloudflare:workers";
import Bedside from "./index.js";
import Product, { Clinic as RealClinic, Leases as RealLeases, Shard as RealShard, Topic as RealTopic } from "./main.js";

const faults = { lose: 0, drop: false, hang: false, capture: false, release: false, slow: 0, fault: false };
const captured = [];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default class extends WorkerEntrypoint {
  async fetch(request) {
    if (new URL(request.url).pathname === "/faults") {
      if (request.method === "POST") Object.assign(faults, await request.json());
      return Response.json({ ...faults, captured: captured.length });
    }
    const topic = new URL(request.url).pathname.match(/^\/sockets\/(.+)$/)?.[1];
    if (topic) return this.env.TOPICS.get(this.env.TOPICS.idFromName(topic)).fetch("https://object/", { method: "PROPFIND" });
    return Product.fetch(request, this.env, this.ctx);
  }
}

export const Clinic = RealClinic;
export const Leases = RealLeases;

/**
 * Answers late while `slow` says so, so that callers are under way when something else happens; loses the replies of as many
 * of a hundred as `lose` says.
 */
export class Shard extends RealShard {
  async ask(message) {
    if (faults.slow) await pause(faults.slow * (faults.lose ? Math.random() : 1));
    const answer = await super.ask(message);
    if (Math.random() * 100 < faults.lose) throw new Error("lost on the way back");
    return answer;
  }
}

export class Topic extends RealTopic {
  constructor(ctx, env) {
    super(ctx, env);
    this.bindings = [ctx, env];
  }

  // How many sockets the object has, for GET /sockets/{topic}.
  fetch(request) {
    return request.method === "PROPFIND" ? Response.json(this.bindings[0].getWebSockets().length) : super.fetch(request);
  }

  async ask(message) {
    if (faults.fault) {
      faults.fault = false;
      // The fault happens in a task of its own in WebAssembly, as a real one does; then this object is asked.
      new Bedside(...this.bindings).fault_on_purpose();
      return super.ask(message);
    }
    if (faults.drop) throw new Error("dropped on the way");
    if (faults.hang) return new Promise(() => {});
    if (faults.capture) {
      // On the way for so long that the sender gives up.
      captured.push(message);
      throw new Error("delayed on the way");
    }
    if (faults.release) for (const delayed of captured.splice(0).reverse()) await super.ask(delayed);
    return super.ask(message);
  }
}
