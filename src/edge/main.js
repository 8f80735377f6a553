// The Worker's main module: what Cloudflare, wrangler and workerd start. It gives every call a deadline in JavaScript,
// because a fault in WebAssembly stops whatever was under way there, timers included, without an answer. After a fault
// the module starts afresh; what was committed stays, and callers come back.
import { DurableObject } from "cloudflare:workers";
import * as bundle from "./index.js";

/** Whoever asks from outside has an answer within this. */
const REQUEST_MS = 8_000;
/** An object answers its caller within this; its caller gives up after 5 s. */
const OBJECT_MS = 6_000;
/** Whatever a request waits for is given up after this. */
const CALL_MS = 5_000;
/** A request that may be held open until it is its turn has its answer within this more. */
const HELD_MS = 60_000;
/** How often a call that is under way looks whether there was a fault, and what it waits for is over. TICK in boundary.rs. */
const TICK_MS = 250;

let faults = 0;
const state = globalThis.__worker_init_state;
const noted = (error) => {
  // Whatever else passes through the program ends it too, and that is noted there.
  if (!(error instanceof WebAssembly.RuntimeError) && !state.criticalError) return;
  faults += 1;
  state.criticalError = true;
};
addEventListener("error", ({ error }) => noted(error));

/** Calls the program; after a fault it is started afresh first. */
function call(work) {
  if (state.criticalError) new bundle.Program();
  try {
    return work();
  } catch (error) {
    noted(error);
    throw error;
  }
}

/** What `work` gives; an error after `ms`, or a tick after a fault has stopped whatever was under way. */
function within(ms, work, onTick) {
  const seen = faults;
  return new Promise((resolve, reject) => {
    let waited = 0;
    let lost = false;
    let timer;
    const tick = () => {
      waited += TICK_MS;
      if (lost) return reject(new Error("stopped by a fault"));
      if (waited >= ms) return reject(new Error(`no answer within ${ms} ms`));
      lost = faults !== seen;
      timer = setTimeout(tick, TICK_MS);
      onTick?.(waited);
    };
    timer = setTimeout(tick, TICK_MS);
    Promise.resolve(work).then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

function failed(request) {
  const path = new URL(request.url).pathname;
  const safe = request.method === "GET" || request.method === "HEAD";
  const [status, code, detail] = safe
    ? [503, "transient", "the server failed on this request; try again"]
    : [504, "timeout", "the server failed on this request; the change may have been made: look before repeating it"];
  const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff", ...(safe && { "retry-after": "1" }) };
  if (path === "/fhir" || path.startsWith("/fhir/")) {
    const issue = [{ severity: "error", code, diagnostics: detail }];
    const body = JSON.stringify({ resourceType: "OperationOutcome", issue });
    return new Response(body, { status, headers: { ...headers, "content-type": "application/fhir+json; charset=utf-8" } });
  }
  const retry = safe ? "after" : "after-looking";
  const title = safe ? "Not available" : "Outcome unknown";
  const body = JSON.stringify({ type: "about:blank", title, status, detail, retry, instance: path });
  return new Response(body, { status, headers: { ...headers, "content-type": "application/problem+json" } });
}

/** Whoever waits for a lease: POST /leases/{name}. */
const mayBeHeld = ({ method, url }) => method === "POST" && new URL(url).pathname.startsWith("/leases/");

const [namesOfReads, namesOfAll] = [false, true].map((withBody) => bundle.Program.headers(withBody).split("\n"));
let requests = 0;

export default {
  async fetch(request, env, ctx) {
    try {
      const { headers, method } = request;
      let sent = "";
      for (const name of method === "GET" || method === "HEAD" ? namesOfReads : namesOfAll) sent += `${headers.get(name) ?? ""}\n`;
      // Never 0, which is nobody's.
      requests = (requests % (2 ** 32 - 1)) + 1;
      const number = requests;
      const reply = call(() => bundle.Program.serve(method, request.url, sent, request, env, ctx, number));
      if (!(reply instanceof Promise)) return reply;
      const onTick = (waited) => call(() => bundle.Program.expire(number, waited === CALL_MS));
      return await within(REQUEST_MS + (mayBeHeld(request) ? HELD_MS : 0), reply, onTick);
    } catch (error) {
      console.error(`a request failed: ${error}`);
      return failed(request);
    }
  },
};

/** What an object answers to a message: bytes. */
function answered(handle, inner, message) {
  const answer = call(() => handle.call(inner, message));
  return answer instanceof Promise ? within(OBJECT_MS, answer) : answer;
}

/** An object that is asked by messages: bytes there and bytes back. */
const asked = (Inner) => {
  const { handle, alarm } = Inner.prototype;
  return class extends DurableObject {
    constructor(ctx, env) {
      super(ctx, env);
      this.inner = new Inner(ctx, env);
    }
    ask(message) {
      return answered(handle, this.inner, message);
    }
    alarm() {
      return within(OBJECT_MS * 5, call(() => alarm.call(this.inner)));
    }
  };
};

/** An object that is asked by messages and has sockets. */
const followed = (Inner) => {
  const { handle } = Inner.prototype;
  return class extends DurableObject {
    constructor(ctx, env) {
      super(ctx, env);
      this.inner = new Inner(ctx, env);
    }
    ask(message) {
      return answered(handle, this.inner, message);
    }
    fetch(request) {
      return within(OBJECT_MS, this.inner.fetch(request));
    }
    alarm(info) {
      return within(OBJECT_MS * 5, this.inner.alarm(info));
    }
    webSocketMessage(socket, message) {
      return within(OBJECT_MS, this.inner.webSocketMessage(socket, message));
    }
    webSocketClose(socket, code, reason, clean) {
      return within(OBJECT_MS, this.inner.webSocketClose(socket, code, reason, clean));
    }
    webSocketError(socket, error) {
      return within(OBJECT_MS, this.inner.webSocketError(socket, error));
    }
  };
};

export const Clinic = asked(bundle.Clinic);
export const Shard = asked(bundle.Shard);
export const Leases = asked(bundle.Leases);
export const Topic = followed(bundle.Topic);
