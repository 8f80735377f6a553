// The machine that keeps one channel connected and misses nothing without saying so: (state, event) -> [state, effects].
//
// Pure: no socket, no timer, no page, no clock and no randomness but what an event brings (`at` in ms, `random` in [0, 1)).
// channel.mjs carries out the effects. Invariants:
// - the cursor is that of the last event taken, so that a new connection goes on behind it;
// - an event is delivered once: not again at a position already passed, not again in a version already had;
// - whatever was lost is announced (`gap`) and its present state asked for until it has been read;
// - a state that was read is followed by every event that it may lack: those that came while it was read are delivered again,
//   behind it, so whoever takes events takes one twice without harm;
// - frames and closings of an earlier connection change nothing.
//
// Events  start; frame {connection, text}; closed {connection, code}; timer {name}; offline; online; wake (a person came
//         back or asks to try now); refresh (the present state is wanted again); refused {message} (the server says that this channel is not for us);
//         rereadDone {id, complete}; rereadFailed {id}; stop
// Effects open {connection, after}; close {connection}; send {connection, text}; timer {name, ms} (in the place of one of
//         the same name); cancel {name}; deliver {events}; reread {id, paths, history}; probe (ask by HTTP why no
//         connection comes about)

export const limits = Object.freeze({
  /** From opening a socket to its hello. */
  connect: 10_000,
  /** From one ping to the next, and from a ping to its pong. */
  ping: 25_000,
  pong: 10_000,
  /** A connection that lived so long was a good one: the next pause begins small again. */
  stable: 10_000,
  /** Pauses are drawn from 0 to base * 2 ** attempt, at most cap (full jitter). */
  base: 1_000,
  cap: 30_000,
  /** So many records are remembered with the version had of them. */
  remembered: 2_000,
  /** So many past events are read at first. */
  tail: 300,
  /** After so many events the server is told how far we have read, lest it close a connection that looks slow. */
  ack: 128,
  /** So many events are held while a state is read; if there are more, it is read again. */
  held: 5_000,
});

/** The pause before try number `attempt` (0 is the first): full jitter. */
export const pause = (attempt, random) => Math.floor(random * Math.min(limits.cap, limits.base * 2 ** attempt));

/** { epoch, offset } of a cursor; undefined if it is none. */
export function parseCursor(text) {
  const found = /^([A-Za-z0-9]{1,32}):(\d{1,16})$/.exec(text ?? "");
  return found ? { epoch: found[1], offset: Number(found[2]) } : undefined;
}

/** The state before `start`. `paths` give the present state of the topic. */
export const initial = (paths) => ({
  /** off, connecting, live, waiting (for the next try), offline (the device has no network), ended (for good). */
  phase: "off",
  connection: 0,
  cursor: null,
  /** How many tries have failed in a row. */
  attempt: 0,
  /** When the present phase began. */
  since: null,
  /** When the last live connection was lost; null while live and before the first. */
  lostAt: null,
  /** When the last event was committed, as it says itself. */
  lastEvent: null,
  /** Whether this connection has brought an event. */
  progress: false,
  /** How many events have come since the server was told how far we have read. */
  unread: 0,
  /** reference -> version had. */
  seen: new Map(),
  /** What is being read again: { id, why: "first" | "gap" | "refresh", paths, history, attempt }. */
  reread: null,
  rereads: 0,
  /** The events taken since that reading began. */
  held: [],
  /** Whether the last reading again covered everything. */
  complete: true,
  /** The last announced loss: { at, after: lastEvent before it }. */
  gap: null,
  /** Why it ended: { code } or { message }. */
  ended: null,
  paths,
});

const cancels = (...names) => names.map((name) => ({ do: "cancel", name }));
const connected = (state) => state.phase === "connecting" || state.phase === "live";

function open(state, at) {
  const connection = state.connection + 1;
  return [
    { ...state, phase: "connecting", since: at, connection, progress: false, unread: 0 },
    [
      ...cancels("retry"),
      { do: "open", connection, after: state.cursor },
      { do: "timer", name: "connect", ms: limits.connect },
    ],
  ];
}

/** What follows from the end of the present connection. 4000-4099 come back at once, 4100-4199 do not, others pause. */
function lose(state, event, code, resume = code < 4100 || code > 4199) {
  const { at, random } = event;
  const wasLive = state.phase === "live";
  const lost = { ...state, lostAt: wasLive ? at : state.lostAt };
  const quiet = cancels("connect", "ping", "pong");
  if (!resume) return end(lost, at, { code }, [...quiet, { do: "probe" }]);
  // At once, unless the last time brought nothing: then that would go round in a circle.
  if (code >= 4000 && code <= 4099 && state.progress) {
    const [next, effects] = open(lost, at);
    return [next, [...quiet, ...effects]];
  }
  const attempt = wasLive && at - state.since >= limits.stable ? 0 : state.attempt;
  const effects = [...quiet, { do: "timer", name: "retry", ms: pause(attempt, random) }];
  if (!wasLive) effects.push({ do: "probe" });
  return [{ ...lost, phase: "waiting", since: at, attempt: attempt + 1 }, effects];
}

function end(state, at, ended, effects = []) {
  const next = { ...state, phase: "ended", since: at, ended, reread: null, held: [] };
  return [next, [...effects, ...cancels("connect", "retry", "ping", "pong", "reread")]];
}

function hangUp(state, event, code = 1006) {
  const [next, effects] = lose(state, event, code);
  return [next, [{ do: "close", connection: state.connection }, ...effects]];
}

function readAgain(state, why, paths, history) {
  const id = state.rereads + 1;
  const reread = { id, why, paths, history, attempt: 0 };
  return [{ ...state, rereads: id, reread, held: [] }, [...cancels("reread"), { do: "reread", id, paths, history }]];
}

/** A reading has come: behind it what was taken since it was asked for, which it may be older than. */
function readDone(state, complete) {
  const { held, reread } = state;
  // Of too many some are not held.
  if (held.length >= limits.held) return readAgain(state, reread.why, reread.paths, null);
  return [{ ...state, reread: null, held: [], complete }, held.length ? [{ do: "deliver", events: held }] : []];
}

/** The last few past events before the newest: { after, limit }. */
function tailOf({ cursor, oldest }) {
  const [newest, first] = [parseCursor(cursor), parseCursor(oldest)];
  if (!newest || first?.epoch !== newest.epoch || newest.offset <= first.offset) return null;
  const from = Math.max(first.offset, newest.offset - limits.tail);
  return { after: `${newest.epoch}:${from}`, limit: newest.offset - from };
}

function hello(state, frame, at) {
  if (state.phase !== "connecting" || !parseCursor(frame.cursor)) return undefined;
  const live = { ...state, phase: "live", since: at, lostAt: null };
  const timers = [...cancels("connect"), { do: "timer", name: "ping", ms: limits.ping }];
  if (state.cursor !== null) return [live, timers];
  // The first connection begins now; what was before is read once, by HTTP, while events already come.
  const [next, effects] = readAgain({ ...live, cursor: frame.cursor }, "first", state.paths, tailOf(frame));
  return [next, [...timers, ...effects]];
}

const acknowledge = (connection, cursor) => ({ do: "send", connection, text: JSON.stringify({ type: "ack", cursor }) });

function takeEvents(state, frame) {
  if (!Array.isArray(frame.events)) return undefined;
  let { cursor, lastEvent } = state;
  let place = parseCursor(cursor);
  const seen = new Map(state.seen);
  const events = [];
  for (const event of frame.events) {
    const position = parseCursor(event?.cursor);
    if (!position) return undefined;
    if (place?.epoch === position.epoch && position.offset <= place.offset) continue;
    [cursor, place, lastEvent] = [event.cursor, position, event.at];
    const { reference, version } = event.data ?? {};
    if (reference !== undefined) {
      if (seen.get(reference) >= version) continue;
      seen.delete(reference); // So that the one changed last is forgotten last.
      seen.set(reference, version);
    }
    events.push(event);
  }
  for (const reference of seen.keys()) {
    if (seen.size <= limits.remembered) break;
    seen.delete(reference);
  }
  const held = state.reread ? [...state.held, ...events].slice(-limits.held) : state.held;
  const unread = state.unread + frame.events.length;
  const told = unread >= limits.ack ? [acknowledge(state.connection, cursor)] : [];
  const next = { ...state, cursor, lastEvent, seen, held, progress: true, unread: told.length ? 0 : unread };
  return [next, [...(events.length ? [{ do: "deliver", events }] : []), ...told]];
}

function takeGap(state, frame, at) {
  if (!parseCursor(frame.oldest)) return undefined;
  const named = Array.isArray(frame.reread) ? frame.reread.filter((path) => /^\/[a-z]/.test(path)) : [];
  const lost = { ...state, cursor: frame.oldest, gap: { at, after: state.lastEvent } };
  return readAgain(lost, "gap", named.length ? named : state.paths, null);
}

function parse(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" && frame !== null ? frame : undefined;
  } catch {
    return undefined;
  }
}

function takeFrame(state, event) {
  if (event.text === "pong") {
    return [state, [...cancels("pong"), { do: "timer", name: "ping", ms: limits.ping }]];
  }
  const frame = parse(event.text);
  const take = () => {
    if (frame?.type === "hello") return hello(state, frame, event.at);
    if (frame?.type === "events") return state.phase === "live" ? takeEvents(state, frame) : undefined;
    if (frame?.type === "gap") return state.phase === "live" ? takeGap(state, frame, event.at) : undefined;
    if (frame?.type === "bye") {
      const [next, effects] = lose(state, event, frame.code, frame.resume === true);
      return [next, [{ do: "close", connection: state.connection }, ...effects]];
    }
    return frame && typeof frame.type === "string" ? [state, []] : undefined; // Of a later version: passed over.
  };
  // What cannot be understood may hide a loss: begin again from the cursor.
  return take() ?? hangUp(state, event, 1002);
}

function takeTimer(state, event) {
  switch (event.name) {
    case "connect":
      return state.phase === "connecting" ? hangUp(state, event) : [state, []];
    case "retry":
      return state.phase === "waiting" ? open(state, event.at) : [state, []];
    case "ping":
      return state.phase === "live" ? ping(state) : [state, []];
    case "pong":
      return state.phase === "live" ? hangUp(state, event) : [state, []];
    case "reread": {
      const { reread } = state;
      return [state, reread ? [{ do: "reread", id: reread.id, paths: reread.paths, history: reread.history }] : []];
    }
    default:
      return [state, []];
  }
}

const ping = (state) => [
  state,
  [
    ...cancels("ping"),
    { do: "send", connection: state.connection, text: "ping" },
    { do: "timer", name: "pong", ms: limits.pong },
  ],
];

/** The next state and what is to be done. */
export function step(state, event) {
  const same = [state, []];
  if (state.phase === "ended") return same;
  const { at } = event;
  switch (event.type) {
    case "start":
      return state.phase === "off" ? open(state, at) : same;
    case "frame":
      return connected(state) && event.connection === state.connection ? takeFrame(state, event) : same;
    case "closed":
      return connected(state) && event.connection === state.connection ? lose(state, event, event.code) : same;
    case "timer":
      return takeTimer(state, event);
    case "offline": {
      if (state.phase === "off" || state.phase === "offline") return same;
      const hang = connected(state) ? [{ do: "close", connection: state.connection }] : [];
      const lostAt = state.phase === "live" ? at : state.lostAt;
      const next = { ...state, phase: "offline", since: at, lostAt };
      return [next, [...hang, ...cancels("connect", "retry", "ping", "pong")]];
    }
    case "online":
      return state.phase === "offline" || state.phase === "waiting" ? open({ ...state, attempt: 0 }, at) : same;
    case "wake":
      if (state.phase === "waiting") return open(state, at);
      return state.phase === "live" ? ping(state) : same;
    case "refresh":
      return state.phase === "live" && !state.reread ? readAgain(state, "refresh", state.paths, null) : same;
    case "refused":
      return end(state, at, { message: event.message }, connected(state) ? [{ do: "close", connection: state.connection }] : []);
    case "rereadDone":
      if (state.reread?.id !== event.id) return same;
      return readDone(state, event.complete);
    case "rereadFailed": {
      if (state.reread?.id !== event.id) return same;
      const { attempt } = state.reread;
      const next = { ...state, reread: { ...state.reread, attempt: attempt + 1 } };
      return [next, [{ do: "timer", name: "reread", ms: pause(attempt, event.random) }]];
    }
    case "stop":
      return end(state, at, {}, connected(state) ? [{ do: "close", connection: state.connection }] : []);
    default:
      return same;
  }
}
