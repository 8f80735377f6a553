// Bedside over plain HTTP, as any client would speak to it: sign in, send, and send many at a time but never too many.

/** Within this a server answers or is not there. */
const patience = 60_000;

/** The answer to one request: { status, headers, body }, the body as JSON where it is JSON. Rejects when there is none. */
export async function send(url, path, { method = "GET", token, headers = {}, body, type = "application/json" } = {}) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": type }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(patience),
  });
  const text = await response.text();
  const json = /json/.test(response.headers.get("content-type") ?? "");
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

/** Writes resources under their own ids, in any order; `done` is called after each. */
export const putAll = (url, token, resources, done = () => {}) =>
  each(resources, async (resource) => {
    const path = `/fhir/${resource.resourceType}/${resource.id}`;
    const answer = await send(url, path, {
      method: "PUT",
      token,
      body: resource,
      type: "application/fhir+json",
      headers: { prefer: "return=minimal" },
    });
    if (answer.status !== 200 && answer.status !== 201) throw new Unexpected(`writing ${path}`, answer);
    done();
  });
