// Who is signed in, in this tab and in the others of this browser.
//
// Invariant: once the session has ended, by whatever way and in whichever tab, `onEnd` has been called here. Tabs tell each
// other by a channel and, should that be missing, by the event of a stored value that says nothing but that it changed.
import { ApiError, api, request } from "./api.mjs";
import { act, alone, judge, timesOf } from "./idle.mjs";

/** What a person does is told to the server at most so often. */
const tellEvery = 60_000;
/** Near the end the server is asked so often whether it is as near as we think. */
const askEvery = 10_000;
const mark = "bedside.signal";

/**
 * Signing out and in, in whichever tab, go one after the other: a sign-out that is slow would end the session of whoever has
 * signed in meanwhile, and the reply to it would take their cookie away.
 */
const inTurn = (work, abort) => navigator.locks.request("bedside-session", { signal: abort }, work);

/**
 *   onEnd(why)    "ended" (time is over, or revoked) or "elsewhere" (signed out in another tab)
 *   onOther()     another person has signed in in another tab
 *   onChange()    the warning before the end has begun, moved on or gone
 */
export function sessions({ onEnd, onOther, onChange }) {
  const others = new BroadcastChannel("bedside-session");
  let current;
  let times;
  let told = 0;
  let asked = 0;
  let warned = null;
  let ticking;
  /** Until this session ends: the answer to what was asked in it says nothing about the next. */
  let until = new AbortController();
  /** How far the server's clock is ahead of ours. */
  let skew = 0;

  const tell = (message) => {
    const marked = { ...message, mark: crypto.randomUUID() };
    others.postMessage(marked);
    try {
      localStorage.setItem(mark, JSON.stringify(marked));
      localStorage.removeItem(mark);
    } catch {
      // Without storage the channel is enough.
    }
  };

  /** Takes an answer of the server, or undefined for the end. */
  const set = (answer, acted) => {
    if (!answer) {
      clearInterval(ticking);
      until.abort();
      until = new AbortController();
      current = times = undefined;
      warned = null;
      return;
    }
    const { body, headers } = answer;
    const now = Date.now();
    const server = Date.parse(headers?.get("Date") ?? "");
    // The header has whole seconds; less than two is no skew. Another tab's word has none: it stays as it was.
    if (headers) skew = Math.abs(server - now) > 2_000 ? server - now : 0;
    current = body;
    times = timesOf(body, { now, skew, acted, before: times });
    clearInterval(ticking);
    ticking = setInterval(tick, 1_000);
    tick();
  };

  const end = (why) => {
    if (!current) return;
    set(undefined);
    onEnd(why);
  };

  /** Asks the server how long there is left; a 401 comes back to us through `end`. */
  function ask(now) {
    asked = now;
    const { signal } = until;
    request("GET", "/session", { background: true, signal }).then(
      (answer) => set(answer),
      () => signal.aborted || (times = alone(times)),
    );
  }

  function tick() {
    const now = Date.now();
    const { phase, left, absolute } = judge(times, now);
    if (phase === "fine") {
      if (warned) {
        warned = null;
        onChange();
      }
      return;
    }
    // Well past the end, after a sleep perhaps, nothing is shown while the server is asked.
    if (left < -5_000 || (phase === "over" && !times.reachable)) {
      tell({ type: "signed-out" });
      return end("ended");
    }
    if (now - asked >= askEvery || (phase === "over" && now - asked >= 1_000)) {
      ask(now);
    }
    // Another tab may know better: nobody is alarmed before the server has been asked.
    if (phase === "warning" && (times.takenAt >= asked || !times.reachable)) {
      warned = { left, absolute };
      onChange();
    }
  }

  /** Says that a person is here. */
  const stay = async () => {
    told = Date.now();
    times = act(times, told);
    const { signal } = until;
    try {
      const answer = await request("PUT", "/session", { signal });
      set(answer, true);
      const { expires_at, idle_expires_at } = answer.body;
      tell({ type: "times", user: current.user.id, expires_at, idle_expires_at });
    } catch {
      if (!signal.aborted) times = alone(times);
    }
  };

  const active = () => {
    if (!current || document.hidden) return;
    times = act(times, Date.now());
    // While the end is announced only the button, or what is asked of the server, is a wish to stay.
    if (warned || Date.now() - told < tellEvery) return;
    stay();
  };
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, active, { passive: true, capture: true });
  document.addEventListener("visibilitychange", () => current && !document.hidden && tick());

  let heard;
  const hear = (message) => {
    if (!message?.mark || message.mark === heard) return; // It comes by both ways.
    heard = message.mark;
    if (message.type === "signed-out") end("elsewhere");
    if (message.type === "signed-in" && message.user !== current?.user.id) {
      set(undefined);
      onOther();
    }
    if (message.type === "times" && message.user === current?.user.id) {
      const { expires_at, idle_expires_at } = message;
      set({ body: { ...current, expires_at, idle_expires_at } }, true);
    }
  };
  others.onmessage = ({ data }) => hear(data);
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== mark || !newValue) return;
    try {
      hear(JSON.parse(newValue));
    } catch {
      // Not ours.
    }
  });

  return {
    get current() {
      return current;
    },
    /** { left, absolute } while the end is near; null otherwise. */
    get warning() {
      return warned;
    },
    stay,
    /** Resolves with the session this browser has, or undefined. */
    async resume() {
      try {
        set(await request("GET", "/session", { background: true, signingIn: true }));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        set(undefined);
      }
      return current;
    },
    async signIn(username, password, abort) {
      const body = { username, password, transport: "cookie" };
      set(await inTurn(() => request("POST", "/session", { body, signingIn: true, signal: abort }), abort), true);
      told = Date.now();
      tell({ type: "signed-in", user: current.user.id });
      return current;
    },
    /** Forgets the session here and in the other tabs at once, then tells the server; rejects if that failed. */
    async signOut() {
      set(undefined);
      tell({ type: "signed-out" });
      await inTurn(() => api.delete("/session", { signingIn: true })).catch((error) => {
        if (error.status !== 401) throw error;
      });
    },
    /** The server has said that the session is over. */
    end() {
      if (!current) return;
      tell({ type: "signed-out" });
      end("ended");
    },
    /** The server says that the session may end soon: look at once. */
    look() {
      if (current) ask(Date.now());
    },
  };
}
