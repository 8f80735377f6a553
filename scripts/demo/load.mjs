// Loads the demonstration into a Bedside that has no accounts yet, once: what is complete is left alone, what was broken
// off is written again under the same ids.
import { DEMO_PASSWORD, accounts, admin } from "./accounts.mjs";
import { Unexpected, each, putAll, send, signIn } from "./client.mjs";
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
    if (found.status === 200) return { state: "there already", written: 0, accounts: wanted };

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
