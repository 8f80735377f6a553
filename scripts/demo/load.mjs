// Loads the demonstration into a Bedside that has no accounts yet, once: what is complete is left alone, what was broken
// off is written again under the same ids. The diaries go on: each time they are made to reach six weeks ahead.
import { DEMO_PASSWORD, accounts, admin } from "./accounts.mjs";
import { Unexpected, each, putAll, send, signIn } from "./client.mjs";
import { clinic, diaries } from "./diary.mjs";
import { demonstration, marker } from "./ward.mjs";

/** The administrator of the demonstration, made if there is no account at all; undefined where there are others. */
async function administrator(url, setupToken) {
  const known = await signIn(url, admin.username, DEMO_PASSWORD).catch((error) => {
    if (error instanceof Unexpected && error.answer.status === 401) return undefined;
    throw error;
  });
  if (known) return known;
  if (!setupToken) throw new Error("the first account needs SETUP_TOKEN, in the environment or in .dev.vars");
  const made = await send(url, "/users", {
    method: "POST",
    headers: { authorization: `Setup ${setupToken}` },
    body: { ...admin, password: DEMO_PASSWORD },
  });
  if (made.status === 409) return undefined;
  if (made.status === 401) throw new Error("SETUP_TOKEN is not the one that this Bedside was started with");
  if (made.status !== 201) throw new Unexpected("making the first account with the setup token", made);
  return signIn(url, admin.username, DEMO_PASSWORD);
}

/** Writes the times that have come within reach since the diaries were written last, and none that is there. */
async function keepUp(url, token, now) {
  const [schedules, slots] = diaries({ now });
  const last = await send(url, `/fhir/Slot/${slots.at(-1).id}`, { token });
  if (last.status === 200) return 0;
  const there = new Set();
  const of = schedules.map(({ id }) => `Schedule/${id}`).join(",");
  for (let path = `/fhir/Slot?schedule=${of}&start=ge${new Date(now).toISOString()}&_count=200`; path; ) {
    const page = await send(url, path, { token });
    if (page.status !== 200) throw new Unexpected("reading the diaries", page);
    for (const { resource } of page.body.entry ?? []) there.add(resource.id);
    const next = page.body.link.find(({ relation }) => relation === "next");
    path = next && `/fhir${next.url.split("/fhir")[1]}`;
  }
  const missing = slots.filter(({ id }) => !there.has(id));
  await putAll(url, token, there.size ? missing : [clinic, ...schedules, ...missing]);
  return missing.length;
}

/**
 * Resolves with { state, written, accounts }: `state` is "loaded", "there already", or "taken" where the accounts of this
 * Bedside are somebody else's and nothing was done. `progress(done, all)` is called while it writes.
 */
export async function loadWard(url, setupToken, { progress = () => {}, now = Date.now() } = {}) {
  const waves = demonstration({ now });
  const patients = waves[2].filter(({ location }) => location?.[0].location.reference.startsWith("Location/ward-7-"));
  const inWard7 = new Set(patients.map(({ subject }) => subject.reference));
  const wanted = accounts(waves[1].filter(({ resourceType, id }) => inWard7.has(`${resourceType}/${id}`)));

  const session = await administrator(url, setupToken);
  if (!session) return { state: "taken", written: 0, accounts: [] };
  const { token } = session;
  try {
    const found = await send(url, `/fhir/Organization/${marker.id}`, { token });
    if (found.status === 200) return { state: "there already", written: await keepUp(url, token, now), accounts: wanted };

    const all = waves.flat().length + 1;
    let written = 0;
    const done = (number) => progress((written += number), all);
    const people = each(
      wanted,
      async ({ account }) => {
        const answer = await send(url, "/users", { method: "POST", token, body: { ...account, password: DEMO_PASSWORD } });
        if (answer.status !== 201 && answer.status !== 409) throw new Unexpected(`making ${account.username}`, answer);
      },
      2,
    );
    const charts = (async () => {
      for (const wave of waves) await putAll(url, token, wave, done);
    })();
    await Promise.all([people, charts]);
    await putAll(url, token, [marker], done);
    return { state: "loaded", written, accounts: wanted };
  } finally {
    await send(url, "/session", { method: "DELETE", token }).catch(() => {});
  }
}
