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

/** A reply: `head` is its headers, a line for each name and one for its value; the body is copied. */
export function reply(status, head, body) {
  const lines = head.split("\n");
  // An object of headers costs a fifth of what a list of pairs does.
  const headers = {};
  let again;
  for (let at = 0; at + 1 < lines.length; at += 2) {
    if (lines[at] in headers) (again ??= []).push(at);
    else headers[lines[at]] = lines[at + 1];
  }
  const made = new Response(body?.slice() ?? null, { status, headers });
  for (const at of again ?? []) made.headers.append(lines[at], lines[at + 1]);
  return made;
}
