// Loads the demonstration ward into a running Bedside and says who can sign in:
//   node scripts/demo.mjs --url http://127.0.0.1:8787
// The setup token comes from SETUP_TOKEN in the environment or from .dev.vars. Running it again changes nothing but that the
// doctors' diaries reach six weeks ahead again. A Bedside whose accounts are somebody else's is left alone, which is no failure.
import { DEMO_PASSWORD, admin } from "./demo/accounts.mjs";
import { loadWard } from "./demo/load.mjs";
import { at, fail, isMain, seconds } from "./lib/project.mjs";

export { DEMO_PASSWORD } from "./demo/accounts.mjs";
export { send, signIn } from "./demo/client.mjs";
export { loadWard } from "./demo/load.mjs";
export { demonstration, marker, ward } from "./demo/ward.mjs";

/** A heart rate as the monitors post it. */
export const heartRate = (patient, value) => ({
  resourceType: "Observation",
  status: "final",
  code: { coding: [{ system: "http://loinc.org", code: "8867-4", display: "Heart rate" }] },
  subject: { reference: `Patient/${patient}` },
  valueQuantity: { value, unit: "/min", system: "http://unitsofmeasure.org", code: "/min" },
});

/** One line for a shell that signs the monitors in and posts a heart rate. */
function curl(url) {
  const credentials = JSON.stringify({ username: "monitor.7", password: DEMO_PASSWORD, transport: "bearer" });
  const signIn = `curl -s ${url}/session -H 'Content-Type: application/json' -d '${credentials}'`;
  const token = `$(${signIn} | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')`;
  const body = JSON.stringify(heartRate("demo-patient-01", 118));
  const headers = `-H "Authorization: Bearer ${token}" -H 'Content-Type: application/fhir+json'`;
  return `curl -s ${url}/fhir/Observation ${headers} -d '${body}'`;
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => [...row[column]].length)));
  const padded = (cell, column) => cell + " ".repeat(widths[column] - [...cell].length);
  return rows.map((row) => `  ${row.map(padded).join("  ").trimEnd()}`).join("\n");
}

async function main() {
  const [option, given, ...more] = process.argv.slice(2);
  if (option !== "--url" || !given || more.length) fail("usage: node scripts/demo.mjs --url http://127.0.0.1:8787");
  const url = given.replace(/\/+$/, "");
  const { readVars } = await import("./lib/settings.mjs");
  const setupToken = process.env.SETUP_TOKEN || readVars(at(".dev.vars")).SETUP_TOKEN;
  const line = (text) => process.stdout.isTTY && process.stdout.write(`\r\x1b[K${text}`);
  const start = performance.now();
  const progress = (done, all) => line(`demonstration ward: ${done} of ${all} resources`);
  const { state, written, accounts } = await loadWard(url, setupToken, { progress }).catch((error) => {
    line("");
    fail(`The demonstration ward could not be loaded: ${error.message}${error.cause ? ` (${error.cause.message})` : ""}`);
  });
  line("");
  if (state === "taken") {
    console.log("The demonstration ward is not loaded: this Bedside has accounts already and `admin` has another password.");
    return;
  }
  console.log(
    state === "loaded"
      ? `demonstration ward: ${written} resources in ${seconds(start)}; everybody in it is invented`
      : `demonstration ward: there already${written ? `; ${written} more times in the diaries` : ""}`,
  );
  const rows = accounts.map(({ account, about }) => [account.username, account.role, account.name, about]);
  console.log(`\nAccounts, all with the password ${DEMO_PASSWORD}:\n`);
  console.log(table([[admin.username, admin.role, admin.name, "everything"], ...rows]));
  console.log(`\nSign in at ${url} as nurse.ada and open demo-patient-01; this posts a heart rate as its monitor:\n`);
  console.log(curl(url));
  console.log(`\nAnd \`make monitor${url.endsWith(":8787") ? "" : ` URL=${url}`}\` has all beds of ward 7 send telemetry, once a second.`);
}

if (isMain(import.meta.url)) await main();
