// The API by HTTP. Every failure is an ApiError whose message says what happened and what to do.
import { t } from "./i18n.mjs";

/** A request may take so long. */
const patience = 20_000;

export class ApiError extends Error {
  /** `status` is 0 where the server could not be reached; `said` is what the server itself said, in English. */
  constructor(status, { said, body, retryAfter } = {}) {
    super(t(sentence(status)));
    this.name = "ApiError";
    this.status = status;
    this.said = said;
    this.body = body;
    /** How long to wait before trying again, in ms, where the server said so. */
    this.retryAfter = retryAfter;
  }
}

function sentence(status) {
  if (status === 0) return "error.unreachable";
  if (status === 401) return "error.401";
  if (status === 403) return "error.403";
  if (status === 404 || status === 410) return "error.404";
  if (status === 409 || status === 412) return "error.409";
  if (status === 429) return "error.429";
  if (status === 504) return "error.504";
  return status >= 500 ? "error.500" : "error.400";
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
 * Resolves with { status, headers, body }; rejects with an ApiError, or with the signal's reason once that has aborted.
 *   background  no person caused this request: it does not keep the session alive
 *   signingIn   a 401 is the answer to the caller's question, not the end of a session
 */
export async function request(method, path, { body, headers = {}, background = false, signingIn = false, signal } = {}) {
  const sent = { Accept: path.startsWith("/fhir") ? "application/fhir+json" : "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] ??= "application/json";
  if (background) sent["Bedside-Background"] = "?1";
  const limit = AbortSignal.timeout(patience);
  let response;
  let parsed;
  try {
    response = await fetch(path, {
      method,
      headers: sent,
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
    throw new ApiError(response?.ok === false ? response.status : 0);
  }
  signal?.throwIfAborted();
  if (response.ok) return { status: response.status, headers: response.headers, body: parsed };
  const retryAfter = Number(response.headers.get("Retry-After")) * 1000 || undefined;
  const error = new ApiError(response.status, { said: said(parsed), body: parsed, retryAfter });
  if (response.status === 401 && !signingIn) signedOut();
  throw error;
}

export const api = {
  get: async (path, options) => (await request("GET", path, options)).body,
  post: async (path, body, options) => (await request("POST", path, { ...options, body })).body,
  put: async (path, body, options) => (await request("PUT", path, { ...options, body })).body,
  delete: async (path, options) => (await request("DELETE", path, options)).body,
};

/** A page of a FHIR list: { resources, next, total, cache }, `next` being the path of the page after it. */
export async function page(path, options) {
  const { body: bundle, headers } = await request("GET", path, options);
  const link = bundle.link?.find(({ relation }) => relation === "next")?.url;
  // Links are absolute; only their path is used, so that no link leads elsewhere.
  const next = link && new URL(link, location.href);
  return {
    resources: (bundle.entry ?? []).map((entry) => entry.resource).filter(Boolean),
    next: next ? next.pathname + next.search : undefined,
    total: bundle.total,
    cache: headers.get("Cache-Status"),
  };
}

/**
 * All resources of a FHIR list, page by page, at most `most` pages; `onPage(resources)` gets each page as it comes.
 * Resolves with { resources, complete, cache }.
 */
export async function pages(path, { most = 20, onPage, ...options } = {}) {
  const resources = [];
  let next = path;
  let cache;
  for (let count = 0; next && count < most; count += 1) {
    const found = await page(next, options);
    cache ??= found.cache;
    resources.push(...found.resources);
    onPage?.(found.resources, found);
    next = found.next;
  }
  return { resources, complete: !next, cache };
}
