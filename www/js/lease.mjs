// A lease that is held for as long as somebody edits. Invariant: once it cannot be told to be ours any more, by this device's
// own clock counted from before each request, `onLost` has been called, and never before.
import { api } from "./api.mjs";

/** So long it lasts without being renewed, in s; it is renewed three times in that, and what fails is tried again soon, in ms. */
const ttl = 30;
const renewAfter = (ttl * 1000) / 3;
const tryEvery = 2_000;

/**
 * Takes the lease `name` and keeps it until `release()`, or until `signal` aborts. Resolves with { fence, release() }; rejects
 * with an ApiError, of status 409 with who holds it in its body. Tried again with the same `requestId` after a reply that was
 * lost, it gets what that granted.
 */
export async function takeLease(name, { requestId, signal, onLost }) {
  const path = `/leases/${encodeURIComponent(name)}`;
  let renewed = Date.now();
  const { fence, expires_in_ms } = await api.post(path, { request_id: requestId, ttl_seconds: ttl }, { signal });
  let until = renewed + expires_in_ms;
  let held = true;
  let asking = false;

  const stop = () => {
    clearInterval(renewing);
    signal.removeEventListener("abort", release);
    held = false;
  };
  const lose = () => {
    if (!held) return;
    stop();
    onLost();
  };
  async function renew() {
    const asked = Date.now();
    if (asked >= until) return lose();
    if (asking || asked - renewed < renewAfter) return;
    asking = true;
    try {
      const { expires_in_ms } = await api.put(path, { fence, ttl_seconds: ttl }, { background: true, signal });
      [renewed, until] = [asked, asked + expires_in_ms];
    } catch ({ status }) {
      if (status === 409 || status === 404) lose();
    }
    asking = false;
  }
  async function release() {
    if (!held) return;
    stop();
    // It ends by itself if this fails, and after a sign-out it may.
    await api.delete(`${path}?fence=${fence}`, { background: true, signingIn: true }).catch(() => {});
  }
  const renewing = setInterval(renew, tryEvery);
  signal.addEventListener("abort", release);
  return { fence, release };
}
