// Who is signed in, in this tab and in the others of this browser.
//
// Invariant: once the session has ended, by whatever way and in whichever tab, `onEnd` has been called here.
import { ApiError, api } from "./api.mjs";

/** What a person does is told to the server at most so often. */
const tellEvery = 60_000;

/**
 *   onEnd(why)  "ended" (time is over, or revoked) or "elsewhere" (signed out in another tab)
 *   onOther()   another person has signed in in another tab
 */
export function sessions({ onEnd, onOther }) {
  const others = new BroadcastChannel("bedside-session");
  let current;
  let told = 0;
  let timer;

  const set = (body) => {
    clearTimeout(timer);
    current = body;
    if (!body?.idle_expires_at) return;
    // A second later than the server's own judgement; asking is no activity. Timers hold 24.8 days at most.
    const left = Date.parse(body.idle_expires_at) - Date.now() + 1_000;
    timer = setTimeout(check, Math.min(Math.max(left, 1_000), 2 ** 31 - 1));
  };

  // A 401 comes back to us through `end`; while the server is away, ask again.
  const check = () =>
    api.get("/session", { background: true }).then(
      (body) => current && set(body),
      () => current && (timer = setTimeout(check, 15_000)),
    );

  const active = () => {
    if (!current || document.hidden || Date.now() - told < tellEvery) return;
    told = Date.now();
    api.put("/session").then((body) => current && set(body), () => {});
  };
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, active, { passive: true, capture: true });

  others.onmessage = ({ data }) => {
    if (data?.type === "signed-out" && current) {
      set(undefined);
      onEnd("elsewhere");
    }
    if (data?.type === "signed-in" && data.user !== current?.user.id) {
      set(undefined);
      onOther();
    }
  };

  return {
    get current() {
      return current;
    },
    /** Resolves with the session this browser has, or undefined. */
    async resume() {
      try {
        set(await api.get("/session", { background: true, signingIn: true }));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        set(undefined);
      }
      return current;
    },
    async signIn(username, password, signal) {
      set(await api.post("/session", { username, password, transport: "cookie" }, { signingIn: true, signal }));
      told = Date.now();
      others.postMessage({ type: "signed-in", user: current.user.id });
      return current;
    },
    /** Forgets the session here and in the other tabs at once, then tells the server; rejects if that failed. */
    async signOut() {
      set(undefined);
      others.postMessage({ type: "signed-out" });
      await api.delete("/session", { signingIn: true }).catch((error) => {
        if (error.status !== 401) throw error;
      });
    },
    /** The server has said that the session is over. */
    end() {
      if (!current) return;
      set(undefined);
      others.postMessage({ type: "signed-out" });
      onEnd("ended");
    },
  };
}
