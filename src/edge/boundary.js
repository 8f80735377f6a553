// The JavaScript half of the boundary: what the program would else do in many small crossings, each done here in one.
// Nothing is decided here. The other half is boundary.rs.

/** Objects are found by their ids, which take longer to compute than to keep; beyond so many they are computed anew. */
const KEPT_IDS = 2_048;
const ids = new Map();

function stub(env, binding, name) {
  const key = `${binding}/${name}`;
  let id = ids.get(key);
  if (!id) {
    id = env[binding].idFromName(name);
    if (ids.size >= KEPT_IDS) ids.clear();
    ids.set(key, id);
  }
  return env[binding].get(id);
}

/**
 * Asks an object and calls `settle(ticket, answer)`: a Uint8Array, or a text where it failed. With `ms` the answer after so
 * long is undefined; without, the caller keeps the time.
 */
export function ask(env, binding, name, message, ms, settle, ticket) {
  let timer;
  const done = (answer) => {
    clearTimeout(timer);
    settle(ticket, answer);
  };
  if (ms) timer = setTimeout(settle, ms, ticket, undefined);
  try {
    stub(env, binding, name)
      .fetch("https://object/", { method: "POST", body: message.slice() })
      .then((reply) => reply.arrayBuffer())
      .then(
        (answer) => done(new Uint8Array(answer)),
        (error) => done(`${error}`),
      );
  } catch (error) {
    done(`${error}`);
  }
}

/** Seals or opens `data` by AES-256-GCM and calls `settle(ticket, answer)`: a Uint8Array, or a text where it failed. */
export function cipher(seal, key, nonce, bound, data, settle, ticket) {
  const use = seal ? "encrypt" : "decrypt";
  const algorithm = { name: "AES-GCM", iv: nonce.slice(), additionalData: bound.slice() };
  const copy = data.slice();
  crypto.subtle
    .importKey("raw", key.slice(), "AES-GCM", false, [use])
    .then((imported) => crypto.subtle[use](algorithm, imported, copy))
    .then(
      (answer) => settle(ticket, new Uint8Array(answer)),
      (error) => settle(ticket, `${error}`),
    );
}

/** Calls `settle(ticket)` after `ms`. */
export function pause(ms, settle, ticket) {
  setTimeout(settle, ms, ticket, undefined);
}

/** An object of headers, from a line for the name of each and one for its value, and a list of those that come again. */
function headersOf(head) {
  const lines = head.split("\n");
  // An object of headers costs a fifth of what a list of pairs does.
  const headers = {};
  const again = [];
  for (let at = 0; at + 1 < lines.length; at += 2) {
    if (lines[at] in headers) again.push([lines[at], lines[at + 1]]);
    else headers[lines[at]] = lines[at + 1];
  }
  return { headers, again };
}

const encoder = new TextEncoder();

/**
 * Sends a request to outside and calls `settle(ticket, answer)`: a Uint8Array with a line of the status, a line for each wanted
 * header, and the body; a text where the connection failed; undefined after `ms`, and then the request is broken off.
 */
export function send(method, url, head, body, wanted, ms, settle, ticket) {
  const breaker = new AbortController();
  const timer = setTimeout(() => {
    settle(ticket, undefined);
    breaker.abort();
  }, ms);
  const done = (answer) => {
    clearTimeout(timer);
    settle(ticket, answer);
  };
  const exchange = async () => {
    const { headers } = headersOf(head);
    // A redirect would carry the token to somebody else.
    const reply = await fetch(url, { method, headers, body: body || undefined, redirect: "manual", signal: breaker.signal });
    let lines = `${reply.status}\n`;
    for (const name of wanted ? wanted.split("\n") : []) lines += `${reply.headers.get(name) ?? ""}\n`;
    const [start, rest] = [encoder.encode(lines), await reply.arrayBuffer()];
    const whole = new Uint8Array(start.length + rest.byteLength);
    whole.set(start);
    whole.set(new Uint8Array(rest), start.length);
    return whole;
  };
  exchange().then(done, (error) => done(`${error}`));
}

/** A reply: `head` is its headers, a line for each name and one for its value; the body is copied. */
export function reply(status, head, body) {
  const { headers, again } = headersOf(head);
  const made = new Response(body?.slice() ?? null, { status, headers });
  for (const [name, value] of again) made.headers.append(name, value);
  return made;
}
