// A main module for tests: the shards' objects of the product, asked from outside with the messages that the Worker sends,
// and their clock. Nothing of it is in the product.
//   POST /clock          the instant that `new Date()` gives from now on, in milliseconds
//   POST /shards/{name}  a message to that object, as bytes; its answer
export * from "./main.js";

const RealDate = Date;
let at;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length || at === undefined) super(...given);
    else super(at);
  }
  static now() {
    return at ?? RealDate.now();
  }
};

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/clock") at = Number(await request.text());
    const shard = pathname.match(/^\/shards\/(.+)$/)?.[1];
    if (!shard) return new Response("ok");
    const object = env.SHARDS.get(env.SHARDS.idFromName(shard));
    return new Response(await object.ask(new Uint8Array(await request.arrayBuffer())));
  },
};
