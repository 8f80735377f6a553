// Bedside over plain HTTP, as any client would speak to it: sign in, send, and send many at a time but never too many.

/** Within this a server answers or is not there. */
const patience = 60_000;

/**
 * The answer to one request: { status, headers, body }, the body as JSON where it is JSON. Rejects when there is none.
 * `body` is sent as JSON, bytes as they are.
 */
export async function send(url, path, { method = "GET", token, headers = {}, body, type = "application/json" } = {}) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": type }),
      ...headers,
    },
    body: body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(patience),
  });
  const text = await response.text();
  const json = /[/+]json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: json && text ? JSON.parse(text) : text };
}

/** What an answer says is wrong, in one line. */
export function complaint({ status, body }) {
  const line = (field, sentence) => [field, sentence].filter(Boolean).join(": ");
  const issues = body?.issue?.map(({ diagnostics, expression }) => line(expression?.join(), diagnostics));
  return `${status} ${issues?.join("; ") ?? line(body?.field, body?.detail)}`;
}

/** An answer of another status than was asked for; `answer` is the answer. */
export class Unexpected extends Error {
  constructor(what, answer) {
    super(`${what}: ${complaint(answer)}`);
    this.answer = answer;
  }
}

/** Signs in for a bearer token: { token, user }. Rejects with Unexpected where it is refused. */
export async function signIn(url, username, password) {
  const answer = await send(url, "/session", { method: "POST", body: { username, password, transport: "bearer" } });
  if (answer.status !== 201) throw new Unexpected(`signing in as ${username}`, answer);
  return { token: answer.body.token, user: answer.body.user };
}

/** Runs `action` for each of a list, at most `most` at a time. Rejects with the first failure and starts no more then. */
export async function each(list, action, most = 16) {
  const left = list.values();
  let failed = false;
  const worker = async () => {
    for (const one of left) {
      if (failed) return;
      await action(one);
    }
  };
  const stop = (error) => {
    failed = true;
    throw error;
  };
  await Promise.all(Array.from({ length: Math.min(most, list.length) }, () => worker().catch(stop)));
}

/** Resources of one transaction: few enough that a progress line moves. */
const MANY = 100;

/** Writes resources under their own ids, some at a time, each time all or none; `done(number)` is called after each time. */
export async function putAll(url, token, resources, done = () => {}) {
  for (let from = 0; from < resources.length; from += MANY) {
    const entry = resources.slice(from, from + MANY).map((resource) => ({
      resource,
      request: { method: "PUT", url: `${resource.resourceType}/${resource.id}` },
    }));
    const body = { resourceType: "Bundle", type: "transaction", entry };
    const answer = await send(url, "/fhir", { method: "POST", token, body, type: "application/fhir+json" });
    if (answer.status !== 200) throw new Unexpected("writing charts", answer);
    done(entry.length);
  }
}
