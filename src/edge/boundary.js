// The JavaScript half of the boundary: what the program would else do in many small crossings, each done here in one.
// Nothing is decided here. The other half is boundary.rs.

/**
 * Calls `settle` in a turn of its own promise or timer: a fault of the program there would be a rejection that nobody hears of,
 * and is reported as the error that it is.
 */
function tell(settle, ticket, answer) {
  try {
    settle(ticket, answer);
  } catch (error) {
    reportError(error);
  }
}

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
    tell(settle, ticket, answer);
  };
  if (ms) timer = setTimeout(tell, ms, settle, ticket, undefined);
  try {
    // A method of the object costs a quarter less than a request to it. What is sent is copied: else all of the memory would be.
    stub(env, binding, name)
      .ask(message.slice())
      .then(done, (error) => done(`${error}`));
  } catch (error) {
    // Never in the turn that asked.
    queueMicrotask(() => done(`${error}`));
  }
}

/** What a row of SQLite becomes: tags of sql.rs. */
const [NULL, NUMBER, TEXT, BLOB] = [0, 1, 2, 3];
const NO_ROWS = new Uint8Array(0);
/** Where rows are written, and up to which size it is kept for the next ones. */
const PAGE = 16_384;
const KEPT_PAGE = 1_048_576;
let page;
let numbers;

function turnTo(bytes) {
  page = bytes;
  numbers = new DataView(page.buffer);
}
turnTo(new Uint8Array(PAGE));

/** Makes room for so many more bytes behind `at`. */
function reserve(at, more) {
  if (at + more <= page.length) return;
  const larger = new Uint8Array(Math.max(page.length * 2, at + more));
  larger.set(page.subarray(0, at));
  turnTo(larger);
}

/** Runs a statement and gives its rows as bytes, in the form that sql.rs reads; they stay as they are until the next call. */
export function exec(sql, statement, bound) {
  const rows = sql.exec(statement, ...bound).raw().toArray();
  if (!rows.length) return NO_ROWS;
  if (page.length > KEPT_PAGE) turnTo(new Uint8Array(PAGE));
  page[0] = rows[0].length;
  let at = 1;
  for (const row of rows) {
    for (const value of row) {
      if (typeof value === "string") {
        reserve(at, 5 + value.length * 3);
        page[at] = TEXT;
        const { written } = encoder.encodeInto(value, page.subarray(at + 5));
        numbers.setUint32(at + 1, written, true);
        at += 5 + written;
      } else if (typeof value === "number") {
        reserve(at, 9);
        page[at] = NUMBER;
        numbers.setFloat64(at + 1, value, true);
        at += 9;
      } else if (value === null) {
        reserve(at, 1);
        page[at] = NULL;
        at += 1;
      } else {
        const bytes = new Uint8Array(value);
        reserve(at, 5 + bytes.length);
        page[at] = BLOB;
        numbers.setUint32(at + 1, bytes.length, true);
        page.set(bytes, at + 5);
        at += 5 + bytes.length;
      }
    }
  }
  return page.subarray(0, at);
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
      (answer) => tell(settle, ticket, new Uint8Array(answer)),
      (error) => tell(settle, ticket, `${error}`),
    );
}

/** Calls `settle(ticket)` after `ms`. */
export function pause(ms, settle, ticket) {
  setTimeout(tell, ms, settle, ticket, undefined);
}

/** An object of headers, from a line for the name of each and one for its value, and a list of those that come again. */
function headersOf(lines) {
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
 * header, and the body; a text where the connection failed. With `ms` the answer after so long is undefined, and the request
 * is broken off; without, the caller keeps the time, and the request ends with the caller's at the latest. A timer and a
 * signal cost a third of what sending does.
 */
export function send(head, body, wanted, ms, settle, ticket) {
  let timer;
  let signal;
  if (ms) {
    const breaker = new AbortController();
    signal = breaker.signal;
    timer = setTimeout(() => {
      tell(settle, ticket, undefined);
      breaker.abort();
    }, ms);
  }
  const done = (answer) => {
    clearTimeout(timer);
    tell(settle, ticket, answer);
  };
  const failed = (error) => done(`${error}`);
  const [method, url, ...lines] = head.split("\n");
  // A redirect would carry the token to somebody else.
  const init = { method, headers: headersOf(lines).headers, body: body || undefined, redirect: "manual", signal };
  let sent;
  try {
    sent = fetch(url, init);
  } catch (error) {
    // Never in the turn that asked.
    sent = Promise.reject(error);
  }
  // Each `await` in place of these calls would cost some microseconds.
  sent
    .then((reply) => {
      let start = `${reply.status}\n`;
      for (const name of wanted ? wanted.split("\n") : []) start += `${reply.headers.get(name) ?? ""}\n`;
      reply.arrayBuffer().then((buffer) => {
        const rest = new Uint8Array(buffer);
        const whole = new Uint8Array(start.length * 3 + rest.length);
        const { written } = encoder.encodeInto(start, whole);
        whole.set(rest, written);
        done(whole.subarray(0, written + rest.length));
      }, failed);
    })
    .catch(failed);
}

/** What is under way, by ticket. */
const promises = new Map();

/** A promise of what this task gives. */
export function promised(ticket) {
  return new Promise((resolve, reject) => promises.set(ticket, [reject, resolve]));
}

/** Keeps the promise, or breaks it. */
export function kept(ticket, kept, value) {
  promises.get(ticket)?.[Number(kept)](value);
  promises.delete(ticket);
}

/** Nobody waits for this task any more. */
export function forgotten(ticket) {
  promises.delete(ticket);
}

/** Calls `run` once this turn's microtasks come to it. */
export function soon(run) {
  queueMicrotask(run);
}

/** A reply: `head` is its headers, a line for each name and one for its value; the body is copied. */
export function reply(status, head, body) {
  const { headers, again } = headersOf(head.split("\n"));
  const made = new Response(body?.slice() ?? null, { status, headers });
  for (const [name, value] of again) made.headers.append(name, value);
  return made;
}
