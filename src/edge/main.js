// The Worker's main module: what Cloudflare, wrangler and workerd start. It gives every call a deadline in JavaScript,
// because a fault in WebAssembly stops whatever was under way there, timers included, without an answer. After a fault
// the module starts afresh; what was committed stays, and callers come back.
import { WorkerEntrypoint } from "cloudflare:workers";
import Bedside, * as bundle from "./index.js";

/** An object answers its caller within this; its caller gives up after 5 s. */
const OBJECT_MS = 6_000;
/** Whoever asks from outside has an answer within this. */
const REQUEST_MS = 8_000;

/** How often a call that is under way looks whether there was a fault. */
const TICK_MS = 500;

let faults = 0;
addEventListener("error", ({ error }) => {
  if (error instanceof WebAssembly.RuntimeError) faults += 1;
});

/** What `work` gives; an error after `ms`, or a tick after a fault has stopped whatever was under way. */
async function within(ms, work) {
  const seen = faults;
  let timer;
  const late = new Promise((_, reject) => {
    let left = Math.ceil(ms / TICK_MS);
    let lost = false;
    const tick = () => {
      left -= 1;
      if (lost) return reject(new Error("stopped by a fault"));
      if (left <= 0) return reject(new Error(`no answer within ${ms} ms`));
      lost = faults !== seen;
      timer = setTimeout(tick, TICK_MS);
    };
    timer = setTimeout(tick, TICK_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
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

export default class extends WorkerEntrypoint {
  async fetch(request) {
    try {
      return await within(REQUEST_MS, new Bedside(this.ctx, this.env).fetch(request));
    } catch (error) {
      console.error(`a request failed: ${error}`);
      return failed(request);
    }
  }
}

const guarded = (Inner) =>
  class {
    constructor(ctx, env) {
      this.inner = new Inner(ctx, env);
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

export const Clinic = guarded(bundle.Clinic);
export const Shard = guarded(bundle.Shard);
export const Topic = guarded(bundle.Topic);
