// FHIR Subscriptions on the real thing: binding and being told over a WebSocket, rest-hooks against a receiver that fails,
// and who is told what.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { PASSWORD, administrator, heartRate, patient, signIn } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";
import { subscription } from "../support/subscription.mjs";

const fhir = { "content-type": "application/fhir+json" };
const HOOK_KEY = "a key of at least thirty-two characters";

const parameter = (parameters, name) => parameters.parameter.find((one) => one.name === name);
const value = (one) => Object.entries(one ?? {}).find(([name]) => name.startsWith("value"))?.[1];
/** What a notification says. */
function told(bundle) {
  assert.deepEqual([bundle.resourceType, bundle.type], ["Bundle", "history"]);
  const status = bundle.entry[0].resource;
  const events = status.parameter.filter((one) => one.name === "notification-event");
  return {
    type: value(parameter(status, "type")),
    count: Number(value(parameter(status, "events-since-subscription-start"))),
    status: value(parameter(status, "status")),
    numbers: events.map((one) => Number(value(one.part.find((part) => part.name === "event-number")))),
    resources: bundle.entry.slice(1).map((entry) => entry.resource),
  };
}

async function ready(t, vars) {
  const server = await startWorkerd({ vars });
  t.after(() => server.stop());
  const admin = await administrator(server);
  for (const id of ["p", "q"]) assert.equal((await admin.put(`/fhir/Patient/${id}`, patient(id))).status, 201);
  for (const ward of ["w1", "w2"]) {
    const location = { resourceType: "Location", id: ward, physicalType: { coding: [{ code: "wa" }] } };
    assert.equal((await admin.put(`/fhir/Location/${ward}`, location)).status, 201);
  }
  const stay = async (id, ward) => {
    const location = [{ location: { reference: `Location/${ward}` } }];
    const encounter = { resourceType: "Encounter", id: `e-${id}`, status: "in-progress", class: { code: "IMP" }, subject: { reference: `Patient/${id}` }, location };
    assert.ok((await admin.put(`/fhir/Encounter/e-${id}`, encounter)).status < 300);
  };
  await stay("p", "w1");
  await stay("q", "w2");
  const nurse = async (name, wards) => {
    const made = await admin.post("/users", { username: name, name, role: "nurse", password: PASSWORD, wards });
    assert.equal(made.status, 201, made.text);
    return signIn(server.url, name);
  };
  const measure = async (id, number) => {
    const reply = await admin.post("/fhir/Observation", heartRate(id, number));
    assert.equal(reply.status, 201, reply.text);
    return reply.body.id;
  };
  const subscribe = async (who, ...args) => {
    const reply = await who.post("/fhir/Subscription", subscription(...args), fhir);
    assert.equal(reply.status, 201, reply.text);
    return reply.body;
  };
  return { server, admin, stay, nurse, measure, subscribe };
}

/** A socket of subscriptions: { said, say(text), closed, until(test) }. */
function bindable(t, url) {
  const socket = new WebSocket(url);
  t.after(() => socket.close());
  const self = { said: [], say: (text) => socket.send(text) };
  self.opened = new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
  self.closed = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
  socket.onmessage = ({ data }) => self.said.push(data.startsWith("{") ? JSON.parse(data) : data);
  self.notifications = () => self.said.filter((one) => one.resourceType === "Bundle").map(told);
  self.until = (what, test) => poll(what, () => test(self), { within: 30_000 }).catch((error) => {
    throw new Error(`${error.message}; got ${JSON.stringify(self.said).slice(0, 2000)}`);
  });
  return self;
}

const token = async (who, id) => {
  const reply = await who.get(`/fhir/Subscription/${id ? `${id}/` : ""}$get-ws-binding-token`);
  assert.equal(reply.status, 200, reply.text);
  return { token: value(parameter(reply.body, "token")), url: value(parameter(reply.body, "websocket-url")), parameters: reply.body };
};

test("what can be subscribed to is said, and what cannot is refused by its element", async (t) => {
  const { admin, nurse, subscribe } = await ready(t);
  const topics = (await admin.get("/fhir/SubscriptionTopic")).body;
  assert.deepEqual(topics.entry.map((entry) => entry.resource.id), ["vital-signs", "alerts", "diagnostic-reports", "appointments"]);
  assert.equal((await admin.get("/fhir/SubscriptionTopic/alerts")).body.resourceType, "Basic");
  assert.equal((await admin.get("/fhir/SubscriptionTopic/else")).status, 404);
  const statement = (await admin.get("/fhir/metadata")).body;
  const [of] = statement.rest[0].resource.filter((one) => one.type === "Subscription");
  assert.equal(of.extension.length, 4);
  assert.deepEqual(of.operation.map((one) => one.name).sort(), ["events", "get-ws-binding-token", "status"]);
  assert.ok(statement.rest[0].extension.some((one) => one.valueUri?.endsWith("/fhir/websocket")));

  const ada = await nurse("ada", ["w1"]);
  const ben = await nurse("ben", ["w2"]);
  for (const [wrong, field] of [
    [subscription("nonsense"), "Subscription.criteria"],
    [subscription("alerts", { filter: "Patient?name=x" }), "Subscription.criteria.extension"],
    [subscription("alerts", { channel: { type: "rest-hook", endpoint: "http://127.0.0.1:1/" } }), "Subscription.channel.endpoint"],
    [subscription("alerts", { channel: { type: "email", endpoint: "mailto:a@b.example" } }), "Subscription.channel.type"],
  ]) {
    const reply = await ada.post("/fhir/Subscription", wrong, fhir);
    assert.deepEqual([reply.status, reply.body.issue[0].expression], [422, [field]], reply.text);
  }
  const own = await subscribe(ada, "alerts");
  assert.deepEqual([own.status, own.meta.versionId], ["active", "1"]);
  assert.equal((await ben.get(`/fhir/Subscription/${own.id}`)).status, 404);
  assert.equal((await ben.get("/fhir/Subscription")).body.entry, undefined);
  assert.equal((await ada.get("/fhir/Subscription")).body.entry.length, 1);
  assert.equal((await admin.get(`/fhir/Subscription/${own.id}`)).status, 200);
  const off = await ada.put(`/fhir/Subscription/${own.id}`, { ...own, status: "off" }, { ...fhir, "if-match": 'W/"1"' });
  assert.deepEqual([off.status, off.body.status, off.body.meta.versionId], [200, "off", "2"], off.text);
  assert.equal((await ada.put(`/fhir/Subscription/${own.id}`, own, { ...fhir, "if-match": 'W/"1"' })).status, 412);
  assert.equal((await ada.get(`/fhir/Subscription/${own.id}/$get-ws-binding-token`)).status, 422);
  assert.equal((await ben.del(`/fhir/Subscription/${own.id}`)).status, 404);
  assert.equal((await ada.del(`/fhir/Subscription/${own.id}`)).status, 204);
  assert.equal((await ada.get(`/fhir/Subscription/${own.id}`)).status, 404);
});

test("over a WebSocket: bound in every form, told in order by numbers that are never lost, and only what is reached", async (t) => {
  const { nurse, measure, subscribe, stay, admin } = await ready(t);
  const ada = await nurse("ada", ["w1"]);
  const all = await subscribe(ada, "vital-signs");
  const some = await subscribe(ada, "vital-signs", { filter: "Observation?patient=Patient/p", content: "id-only", more: { "backport-heartbeat-period": ["valueUnsignedInt", 1] } });
  const missed = await measure("p", 60);
  await measure("q", 61);
  const first = await token(ada, all.id);
  assert.match(first.url, /^ws:.*\/fhir\/websocket$/);
  const socket = bindable(t, first.url);
  await socket.opened;
  socket.say(JSON.stringify({ type: "bind-with-token", payload: { token: first.token } }));
  await socket.until("the handshake", (self) => self.said.length === 1);
  assert.deepEqual(socket.notifications()[0], { type: "handshake", count: 1, status: "active", numbers: [], resources: [] });
  const second = await token(ada, some.id);
  socket.say(`bind-with-token: ${second.token}`);
  await socket.until("the other handshake", (self) => self.notifications().filter((one) => one.type === "handshake").length === 2);

  const seen = [await measure("p", 62), await measure("p", 63)];
  const events = (self) => self.notifications().filter((one) => one.type === "event-notification");
  const whole = (self) => events(self).filter((one) => one.resources.length);
  await socket.until("both events by both", (self) => events(self).flatMap((one) => one.numbers).length === 4);
  assert.deepEqual(whole(socket).flatMap((one) => one.numbers), [2, 3]);
  assert.deepEqual(whole(socket).flatMap((one) => one.resources.map((resource) => resource.id)), seen);
  await socket.until("a heartbeat", (self) => self.notifications().some((one) => one.type === "heartbeat" && one.count === 3));
  socket.say("ping");
  await socket.until("a pong", (self) => self.said.includes("pong"));
  // A token is good once, and whatever is none is told so.
  for (const used of [second.token, "rubbish"]) {
    const before = socket.said.length;
    socket.say(`bind-with-token ${used}`);
    await socket.until("a refusal", (self) => self.said.slice(before).some((one) => one.resourceType === "OperationOutcome"));
  }

  // What was missed is asked for by its numbers, both included.
  const events1 = told((await ada.get(`/fhir/Subscription/${all.id}/$events?eventsSinceNumber=1&eventsUntilNumber=1`)).body);
  assert.deepEqual([events1.type, events1.numbers, events1.resources[0].id, events1.count], ["query-event", [1], missed, 3]);
  const events2 = told((await ada.get(`/fhir/Subscription/${all.id}/$events?eventsSinceNumber=2&content=id-only`)).body);
  assert.deepEqual([events2.numbers, events2.resources], [[2, 3], []]);
  assert.deepEqual(told((await ada.get(`/fhir/Subscription/${some.id}/$events?content=full-resource`)).body).resources, [], "no more than was agreed");
  const status = (await ada.get("/fhir/Subscription/$status")).body;
  assert.deepEqual([status.type, status.entry.length], ["searchset", 2]);
  assert.ok(status.entry.every((entry) => value(parameter(entry.resource, "events-since-subscription-start")) === "3"));

  // Reach is held at the time of each event: p moves away, q arrives.
  await stay("p", "w2");
  await measure("p", 64);
  await stay("q", "w1");
  const reached = await measure("q", 65);
  await socket.until("the event of q", (self) => whole(self).some((one) => one.resources[0].id === reached));
  assert.deepEqual(whole(socket).flatMap((one) => one.numbers), [2, 3, 4]);

  // When the subscription is written anew, whoever is bound binds anew.
  const anew = { ...some, channel: { ...some.channel, extension: undefined } };
  assert.equal((await ada.put(`/fhir/Subscription/${some.id}`, anew, fhir)).status, 200);
  assert.equal(await socket.closed, 4001);
  const other = bindable(t, first.url);
  await other.opened;
  other.say(`bind-with-token ${(await token(ada)).token}`);
  await other.until("both handshakes", (self) => self.notifications().filter((one) => one.type === "handshake").length === 2);

  // It ends with the session.
  assert.equal((await ada.del("/session")).status, 204);
  assert.equal(await other.closed, 4100);
  // Whoever only guesses is sent away.
  const guessing = bindable(t, first.url);
  await guessing.opened;
  for (let guess = 0; guess < 8; guess += 1) guessing.say(`bind-with-token ${guess}`);
  assert.equal(await guessing.closed, 1008);
  assert.equal((await admin.get(`/fhir/Subscription/${all.id}`)).status, 200);
});

test("a rest-hook: handshake, signed notifications, retried in order through failures, given up and taken up again", async (t) => {
  const received = [];
  let answer = 200;
  const receiver = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk)).on("end", () => {
      received.push({ headers: request.headers, body, answer });
      response.writeHead(answer).end();
    });
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  t.after(() => receiver.close());
  const endpoint = `http://127.0.0.1:${receiver.address().port}/hook`;
  const { admin, nurse, measure, subscribe } = await ready(t, { HOOK_TARGETS: new URL(endpoint).origin, HOOK_KEY });
  const channel = { type: "rest-hook", endpoint, header: ["Authorization: Bearer of-the-receiver"] };
  const made = await subscribe(admin, "vital-signs", { channel });
  assert.equal(made.status, "requested");
  const status = async () => (await admin.get(`/fhir/Subscription/${made.id}`)).body.status;
  await poll("the handshake", async () => (await status()) === "active", { within: 30_000 });
  assert.equal(told(JSON.parse(received[0].body)).type, "handshake");
  assert.equal(received[0].headers.authorization, "Bearer of-the-receiver");
  assert.match(received[0].headers["content-type"], /^application\/fhir\+json/);

  answer = 503;
  const committed = [await measure("p", 60)];
  await poll("a failure and another", () => received.filter((one) => one.answer === 503).length >= 2, { within: 30_000 });
  committed.push(await measure("p", 61), await measure("p", 62));
  answer = 204;
  const taken = () => received.filter((one) => one.answer === 204).map((one) => told(JSON.parse(one.body)));
  await poll("all events", () => taken().flatMap((one) => one.numbers).length >= 3, { within: 60_000 });
  assert.deepEqual(taken().flatMap((one) => one.numbers), [1, 2, 3]);
  assert.deepEqual(taken().flatMap((one) => one.resources.map((resource) => resource.id)), committed);
  for (const { headers, body } of received) {
    const [, time, mac] = headers["bedside-signature"].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
    assert.equal(mac, createHmac("sha256", HOOK_KEY).update(`${time}.${body}`).digest("hex"));
    assert.ok(Math.abs(Date.now() / 1000 - Number(time)) < 300);
  }

  // An endpoint that does not take the handshake is in error until it is asked for again; nothing is left out then.
  answer = 500;
  assert.equal((await admin.put(`/fhir/Subscription/${made.id}`, made, fhir)).status, 200);
  await poll("the error", async () => (await status()) === "error", { within: 30_000 });
  const said = (await admin.get(`/fhir/Subscription/${made.id}/$status`)).body.entry[0].resource;
  assert.ok(value(parameter(said, "error")).text.includes("endpoint"));
  committed.push(await measure("p", 63));
  answer = 202;
  const before = received.length;
  assert.equal((await admin.put(`/fhir/Subscription/${made.id}`, made, fhir)).status, 200);
  await poll("the fourth event", () => received.slice(before).some((one) => told(JSON.parse(one.body)).numbers.includes(4)), { within: 30_000 });
  assert.deepEqual(received.slice(before).map((one) => told(JSON.parse(one.body)).type), ["handshake", "event-notification"]);
  assert.equal((await admin.del(`/fhir/Subscription/${made.id}`)).status, 204);

  // An account that is disabled is told nothing, not even what is owed; when it is back, everything that it reaches.
  const ada = await nurse("ada", ["w1"]);
  const hers = await subscribe(ada, "vital-signs", { channel, filter: "patient=p" });
  const of = () => received.map((one) => JSON.parse(one.body)).filter((body) => JSON.stringify(body).includes(hers.id)).map(told);
  await poll("her handshake", () => of().length === 1, { within: 30_000 });
  const { id } = (await ada.get("/session")).body.user;
  answer = 503;
  await measure("p", 64);
  await poll("a failure", () => of().length >= 2, { within: 30_000 });
  assert.equal((await admin.put(`/users/${id}`, { disabled: true })).status, 200);
  answer = 200;
  const [untold] = [of().length, await measure("p", 65)];
  assert.equal((await admin.get(`/fhir/Subscription/${hers.id}/$events`)).status, 403);
  assert.equal((await admin.put(`/users/${id}`, { disabled: false })).status, 200);
  await measure("p", 66);
  await poll("what she missed", () => of().slice(untold).flatMap((one) => one.numbers).includes(2), { within: 30_000 });
  assert.deepEqual(of().slice(untold).flatMap((one) => one.numbers), [1, 2], "what came while she was disabled is not hers");

  const refused = subscription("alerts", { channel: { type: "rest-hook", endpoint: "http://127.0.0.1:1/" } });
  assert.equal((await admin.post("/fhir/Subscription", refused, fhir)).status, 422);
});
