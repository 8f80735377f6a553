// The machine that keeps a channel connected, driven event by event; no socket, clock or chance of its own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { initial, limits, parseCursor, pause, step } from "../../www/js/recovery.mjs";

const paths = ["/fhir/Patient/p", "/fhir/Observation?patient=p"];

/** A machine with a clock and chance that the test sets, and what it has asked for. */
function machine() {
  let state = initial(paths);
  const self = {
    at: 1_000_000,
    random: 0.5,
    get state() {
      return state;
    },
    /** Gives it an event; returns the effects, without the cancelled timers. */
    send(event) {
      const before = structuredClone(state);
      const [next, effects] = step(state, { at: self.at, random: self.random, ...event });
      assert.deepEqual(state, before, "the state that was given in is not changed");
      state = next;
      return effects.filter((effect) => effect.do !== "cancel");
    },
    frame: (frame, connection = state.connection) =>
      self.send({ type: "frame", connection, text: typeof frame === "string" ? frame : JSON.stringify(frame) }),
    hello: (cursor, oldest = "e1:0") => self.frame({ type: "hello", cursor, oldest }),
    events: (...events) => self.frame({ type: "events", events }),
    close: (code, connection = state.connection) => self.send({ type: "closed", connection, code }),
    timer: (name) => self.send({ type: "timer", name }),
    /** As it is while all is well, with everything before `e1:10` read. */
    live() {
      self.send({ type: "start" });
      self.hello("e1:10", "e1:4");
      self.send({ type: "rereadDone", id: 1, complete: true });
      return self;
    },
  };
  return self;
}

const event = (offset, { epoch = "e1", reference = `Observation/o${offset}`, version = 1 } = {}) => ({
  cursor: `${epoch}:${offset}`,
  id: `${reference}/_history/${version}`,
  kind: "observation",
  at: new Date(offset * 1000).toISOString(),
  data: { reference, version, deleted: false, resource: {} },
});
const kinds = (effects) => effects.map((effect) => effect.do);
const named = (effects, kind) => effects.find((effect) => effect.do === kind);
const delivered = (effects) => (named(effects, "deliver")?.events ?? []).map(({ cursor }) => cursor);

test("connects without a cursor, takes the newest and reads what was before", () => {
  const it = machine();
  assert.deepEqual(it.send({ type: "start" }), [
    { do: "open", connection: 1, after: null },
    { do: "timer", name: "connect", ms: limits.connect },
  ]);
  assert.equal(it.state.phase, "connecting");
  assert.deepEqual(it.hello("e1:1000", "e1:4"), [
    { do: "timer", name: "ping", ms: limits.ping },
    { do: "reread", id: 1, paths, history: { after: `e1:${1000 - limits.tail}`, limit: limits.tail } },
  ]);
  assert.equal(it.state.phase, "live");
  assert.equal(it.state.cursor, "e1:1000");
  assert.deepEqual(it.send({ type: "start" }), [], "starts once");
});

test("reads no history where there is none, and no more of it than is kept", () => {
  for (const [cursor, oldest, history] of [
    ["e1:0", "e1:0", null],
    ["e1:9", "e1:9", null],
    ["e1:9", "e1:7", { after: "e1:7", limit: 2 }],
  ]) {
    const it = machine();
    it.send({ type: "start" });
    assert.deepEqual(named(it.hello(cursor, oldest), "reread").history, history);
  }
});

test("resumes behind the last event taken, and reads nothing twice", () => {
  const it = machine().live();
  assert.deepEqual(delivered(it.events(event(11), event(12))), ["e1:11", "e1:12"]);
  assert.equal(it.state.lastEvent, event(12).at);
  it.close(1006);
  assert.equal(it.state.lostAt, it.at);
  assert.deepEqual(it.timer("retry")[0], { do: "open", connection: 2, after: "e1:12" });
  assert.deepEqual(kinds(it.hello("e1:12")), ["timer"]);
  assert.deepEqual(delivered(it.events(event(13))), ["e1:13"]);
  assert.equal(it.state.lostAt, null);
});

test("drops what it has: positions passed and versions had", () => {
  const it = machine().live();
  it.events(event(11, { reference: "Observation/x", version: 2 }));
  assert.deepEqual(delivered(it.events(event(10), event(11), event(12))), ["e1:12"], "positions");
  const again = [
    event(13, { reference: "Observation/x", version: 2 }),
    event(14, { reference: "Observation/x", version: 1 }),
    event(15, { reference: "Observation/x", version: 3 }),
  ];
  assert.deepEqual(delivered(it.events(...again)), ["e1:15"], "versions");
  assert.equal(it.state.cursor, "e1:15");
  assert.deepEqual(kinds(it.events(event(15))), [], "nothing new is not delivered");
});

test("passes on events that are about no record", () => {
  const it = machine().live();
  const alert = { cursor: "e1:11", id: "a", kind: "alert", at: event(11).at, data: { text: "x" } };
  const next = { ...alert, cursor: "e1:12", id: "b" };
  assert.deepEqual(delivered(it.events(alert, next)), ["e1:11", "e1:12"]);
});

test("says how far it has read, after so many events and on this connection", () => {
  const it = machine().live();
  const many = (from, count) => it.events(...Array.from({ length: count }, (_, index) => event(from + index)));
  assert.equal(named(many(11, limits.ack - 1), "send"), undefined);
  assert.deepEqual(named(many(11 + limits.ack - 1, 1), "send"), { do: "send", connection: 1, text: `{"type":"ack","cursor":"e1:${10 + limits.ack}"}` });
  assert.equal(named(many(11 + limits.ack, limits.ack - 1), "send"), undefined, "it begins again");
  it.close(1006);
  it.timer("retry");
  it.hello("e1:10");
  assert.equal(named(many(11 + 2 * limits.ack, 1), "send"), undefined, "another connection begins at none");
});

test("remembers so many records and no more", () => {
  const it = machine().live();
  for (let offset = 11; offset < 11 + limits.remembered + 500; offset += 100) {
    it.events(...Array.from({ length: 100 }, (_, index) => event(offset + index)));
  }
  assert.equal(it.state.seen.size, limits.remembered);
});

test("announces a gap, goes on behind it and reads the present state until that has worked", () => {
  const it = machine().live();
  it.events(event(11));
  it.close(1006);
  it.timer("retry");
  it.hello("e1:40", "e1:40");
  const reread = ["/fhir/Patient/p"];
  const effects = it.frame({ type: "gap", oldest: "e1:40", reread });
  assert.deepEqual(effects, [{ do: "reread", id: 2, paths: reread, history: null }]);
  assert.deepEqual(it.state.gap, { at: it.at, after: event(11).at });
  assert.equal(it.state.cursor, "e1:40");
  assert.deepEqual(delivered(it.events(event(41))), ["e1:41"], "live events come meanwhile");
  const failed = it.send({ type: "rereadFailed", id: 2 });
  assert.deepEqual(failed, [{ do: "timer", name: "reread", ms: limits.base / 2 }]);
  assert.deepEqual(it.timer("reread"), [{ do: "reread", id: 2, paths: reread, history: null }]);
  it.send({ type: "rereadDone", id: 1, complete: true });
  assert.equal(it.state.reread.id, 2, "what an earlier reading found does not end it");
  it.send({ type: "rereadDone", id: 2, complete: false });
  assert.equal(it.state.reread, null);
  assert.equal(it.state.complete, false);
  assert.notEqual(it.state.gap, null, "the loss stays said");
});

test("a gap in the middle of a connection, with a new epoch", () => {
  const it = machine().live();
  it.events(event(11));
  it.frame({ type: "gap", oldest: "e2:0", reread: paths });
  assert.deepEqual(delivered(it.events(event(1, { epoch: "e2", reference: "Observation/new" }))), ["e2:1"]);
  it.close(1006);
  assert.equal(named(it.timer("retry"), "open").after, "e2:1");
});

test("behind a reading comes again what came while it was read, and nothing twice without one", () => {
  const it = machine();
  it.send({ type: "start" });
  it.hello("e1:10");
  assert.deepEqual(delivered(it.events(event(11), event(12))), ["e1:11", "e1:12"]);
  assert.deepEqual(delivered(it.send({ type: "rereadDone", id: 1, complete: true })), ["e1:11", "e1:12"]);
  assert.deepEqual(it.state.held, []);
  it.events(event(13));
  assert.deepEqual(it.state.held, [], "nothing is held when nothing is read");
  it.frame({ type: "gap", oldest: "e1:20", reread: paths });
  it.events(event(21));
  it.send({ type: "rereadFailed", id: 2 });
  it.events(event(22));
  assert.deepEqual(delivered(it.send({ type: "rereadDone", id: 2, complete: true })), ["e1:21", "e1:22"]);
});

test("a state behind more events than are held is read again", () => {
  const it = machine();
  it.send({ type: "start" });
  it.hello("e1:10");
  it.events(...Array.from({ length: limits.held + 5 }, (_, index) => event(12 + index)));
  assert.equal(it.state.held.length, limits.held);
  assert.deepEqual(named(it.send({ type: "rereadDone", id: 1, complete: true }), "reread"), { do: "reread", id: 2, paths, history: null });
  assert.deepEqual(it.send({ type: "rereadDone", id: 2, complete: true }), []);
  assert.equal(it.state.reread, null);
});

test("the present state is read again when that is wanted, one reading at a time", () => {
  const it = machine();
  assert.deepEqual(it.send({ type: "refresh" }), [], "not before there is a connection");
  it.live();
  assert.deepEqual(it.send({ type: "refresh" }), [{ do: "reread", id: 2, paths, history: null }]);
  assert.deepEqual(it.send({ type: "refresh" }), []);
  it.events(event(11), event(12));
  assert.deepEqual(delivered(it.send({ type: "rereadDone", id: 2, complete: true })), ["e1:11", "e1:12"]);
  assert.equal(it.state.gap, null, "nothing was lost");
});

test("reads only paths of this server after a gap", () => {
  const it = machine().live();
  const effects = it.frame({ type: "gap", oldest: "e2:0", reread: ["//elsewhere.example/x", "https://elsewhere.example/"] });
  assert.deepEqual(named(effects, "reread").paths, paths);
});

test("a pause is drawn from zero to a bound that doubles up to its cap", () => {
  for (let attempt = 0; attempt < 2000; attempt += 1) {
    const bound = Math.min(limits.cap, limits.base * 2 ** attempt);
    assert.equal(pause(attempt, 0), 0);
    assert.ok(pause(attempt, 0.999999) < bound && pause(attempt, 0.999999) >= bound * 0.99);
  }
});

test("backs off from try to try, and begins small again after a good connection", () => {
  const it = machine().live();
  it.random = 0.999999;
  it.close(1006); // Lived for 0 s: not a good one.
  const pauses = [];
  for (let count = 0; count < 8; count += 1) {
    it.timer("retry");
    const effects = it.close(1006);
    pauses.push(named(effects, "timer").ms);
    assert.ok(named(effects, "probe"), "asks why no connection comes about");
  }
  assert.deepEqual(pauses, [1999, 3999, 7999, 15999, 29999, 29999, 29999, 29999]);
  it.timer("retry");
  it.hello("e1:10");
  it.at += limits.stable;
  assert.deepEqual(kinds(it.close(1006)), ["timer"], "a connection that was live is not asked about");
  assert.equal(it.state.attempt, 1);
});

test("close codes: 4000 to 4099 come back at once, 4100 to 4199 do not, others pause", () => {
  for (const code of [4000, 4099]) {
    const it = machine().live();
    it.events(event(11));
    assert.deepEqual(it.close(code)[0], { do: "open", connection: 2, after: "e1:11" }, `${code}`);
  }
  for (const code of [4100, 4199]) {
    const it = machine().live();
    assert.deepEqual(kinds(it.close(code)), ["probe"], `${code}`);
    assert.equal(it.state.phase, "ended");
    assert.deepEqual(it.state.ended, { code });
    assert.deepEqual(it.send({ type: "online" }), [], "ended is ended");
    assert.deepEqual(it.timer("retry"), []);
  }
  for (const code of [1000, 1001, 1006, 1011, 1012, 3000, 4200]) {
    const it = machine().live();
    assert.deepEqual(kinds(it.close(code)), ["timer"], `${code}`);
    assert.equal(it.state.phase, "waiting");
  }
});

test("comes back at once only if that brings something", () => {
  const it = machine().live();
  assert.deepEqual(kinds(it.close(4000)), ["timer"]);
  assert.equal(it.state.phase, "waiting");
});

test("a bye says what its close will say; the close itself then changes nothing", () => {
  const it = machine().live();
  it.events(event(11));
  const effects = it.frame({ type: "bye", code: 4000, resume: true });
  assert.deepEqual(kinds(effects), ["close", "open", "timer"]);
  assert.equal(effects[0].connection, 1);
  assert.deepEqual(it.close(4000, 1), []);
  assert.equal(it.state.phase, "connecting");

  const other = machine().live();
  assert.deepEqual(kinds(other.frame({ type: "bye", code: 4101, resume: false })), ["close", "probe"]);
  assert.equal(other.state.phase, "ended");

  const paused = machine().live();
  assert.deepEqual(kinds(paused.frame({ type: "bye", code: 1012, resume: true })), ["close", "timer"]);
  assert.deepEqual(paused.close(1012, 1), [], "while it waits, too");
});

test("frames and closings of an earlier connection change nothing", () => {
  const it = machine().live();
  it.close(1006);
  it.timer("retry");
  const before = it.state;
  it.frame({ type: "events", events: [event(11)] }, 1);
  it.close(4100, 1);
  assert.equal(it.state, before);
});

test("pings, and takes a connection without pong for dead", () => {
  const it = machine().live();
  assert.deepEqual(it.timer("ping"), [
    { do: "send", connection: 1, text: "ping" },
    { do: "timer", name: "pong", ms: limits.pong },
  ]);
  assert.deepEqual(it.frame("pong"), [{ do: "timer", name: "ping", ms: limits.ping }]);
  it.timer("ping");
  const effects = it.timer("pong");
  assert.deepEqual(kinds(effects), ["close", "timer"]);
  assert.equal(it.state.phase, "waiting");
});

test("a socket that opens and says nothing is given up", () => {
  const it = machine();
  it.send({ type: "start" });
  assert.deepEqual(kinds(it.timer("connect")), ["close", "timer", "probe"]);
  assert.equal(it.state.phase, "waiting");
});

test("what cannot be understood ends the connection; an unknown type of frame does not", () => {
  for (const bad of ["", "nonsense", "null", "[]", "{}", '{"type":"events"}', '{"type":"events","events":[{"cursor":"x"}]}', '{"type":"gap"}']) {
    const it = machine().live();
    assert.deepEqual(kinds(it.frame(bad)), ["close", "timer"], bad);
    assert.equal(it.state.cursor, "e1:10");
  }
  const it = machine().live();
  assert.deepEqual(it.frame({ type: "news" }), []);
  assert.equal(it.state.phase, "live");
});

test("offline closes, online comes back at once with the cursor", () => {
  const it = machine().live();
  it.events(event(11));
  assert.deepEqual(it.send({ type: "offline" }), [{ do: "close", connection: 1 }]);
  assert.equal(it.state.phase, "offline");
  assert.deepEqual(it.timer("retry"), []);
  assert.deepEqual(it.send({ type: "online" })[0], { do: "open", connection: 2, after: "e1:11" });
});

test("a person who comes back does not wait: a live connection is tried, a pause is cut short", () => {
  const it = machine().live();
  assert.deepEqual(kinds(it.send({ type: "wake" })), ["send", "timer"]);
  it.close(1006);
  assert.deepEqual(kinds(it.send({ type: "wake" })), ["open", "timer"]);
});

test("a refusal and a stop are for good", () => {
  const refused = machine();
  refused.send({ type: "start" });
  refused.close(1006);
  assert.deepEqual(refused.send({ type: "refused", message: "not yours" }), []);
  assert.deepEqual(refused.state.ended, { message: "not yours" });
  const stopped = machine().live();
  assert.deepEqual(stopped.send({ type: "stop" }), [{ do: "close", connection: 1 }]);
  assert.deepEqual(stopped.send({ type: "start" }), []);
});

test("cursors", () => {
  assert.deepEqual(parseCursor("a1:42"), { epoch: "a1", offset: 42 });
  for (const bad of [undefined, null, "", ":1", "a:", "a:-1", "a:1:2", "a b:1"]) assert.equal(parseCursor(bad), undefined);
});
