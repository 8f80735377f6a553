// The API by HTTP. Every failure is an ApiError whose message says what happened and what to do.
import { words } from "./words.mjs";

/** A request may take so long. */
const patience = 20_000;

export class ApiError extends Error {
  /** `status` is 0 where the server could not be reached; `said` is what the server itself said, if anything. */
  constructor(status, message, said) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.said = said;
  }
}

let signedOut = () => {};
/** Says what to do when the server answers 401: the session has ended. */
export const onSignedOut = (handler) => (signedOut = handler);

/** What the server says is wrong: `detail` of problem details, `diagnostics` of an OperationOutcome. */
function said(body) {
  if (typeof body?.detail === "string") return body.detail;
  return body?.issue?.map((issue) => issue.diagnostics).find((text) => typeof text === "string");
}

/**
 * Resolves with { status, body }; rejects with an ApiError, or with the signal's reason once that has aborted.
 *   background  no person caused this request: it does not keep the session alive
 *   signingIn   a 401 is the answer to the caller's question, not the end of a session
 */
async function request(method, path, { body, background = false, signingIn = false, signal } = {}) {
  const headers = { Accept: path.startsWith("/fhir") ? "application/fhir+json" : "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (background) headers["Bedside-Background"] = "?1";
  const limit = AbortSignal.timeout(patience);
  let response;
  let parsed;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const text = await response.text();
    parsed = text && /json/.test(response.headers.get("Content-Type") ?? "") ? JSON.parse(text) : undefined;
  } catch {
    signal?.throwIfAborted();
    throw new ApiError(response?.ok === false ? response.status : 0, words.unreachable);
  }
  signal?.throwIfAborted();
  if (response.ok) return { status: response.status, body: parsed };
  const error = new ApiError(response.status, words.failure(response.status, said(parsed)), said(parsed));
  if (response.status === 401 && !signingIn) signedOut();
  throw error;
}

export const api = {
  get: async (path, options) => (await request("GET", path, options)).body,
  post: async (path, body, options) => (await request("POST", path, { ...options, body })).body,
  put: async (path, options) => (await request("PUT", path, options)).body,
  delete: async (path, options) => (await request("DELETE", path, options)).body,
};

/** A page of a FHIR list: { resources, next }, `next` being the path of the page after it. */
export async function page(path, options) {
  const bundle = await api.get(path, options);
  const link = bundle.link?.find(({ relation }) => relation === "next")?.url;
  // Links are absolute; only their path is used, so that no link leads elsewhere.
  const next = link && new URL(link, location.href);
  return {
    resources: (bundle.entry ?? []).map((entry) => entry.resource).filter(Boolean),
    next: next ? next.pathname + next.search : undefined,
  };
}
