// `make restore FROM=folder`: puts a backup in the place of the data of `make serve`, and notes when, so that the next start
// knows that what it has is not what it had: sessions end, caches are void, fences and cursors go on above all of before.
//   FROM  a copy of DATA, made while the server was stopped or by a snapshot of the file system
//   DATA  .data/serve; the server must be stopped
// What was there is kept beside it, under the same name and the instant.
import { cpSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { at, fail, isMain } from "./lib/project.mjs";

/** Where the instant of the last restore stands, in DATA. */
export const noted = (data) => `${data}/restored-at`;

/** Puts the databases of `from` in the place of those of `to`. Returns the instant of the restore, later than `last`. */
export function bringBack(from, to, last = 0) {
  const now = new Date(Math.max(Date.now(), new Date(last).getTime() + 1)).toISOString();
  if (existsSync(to)) renameSync(to, `${to}.${now.replaceAll(/[-:.]/g, "")}`);
  cpSync(from, to, { recursive: true });
  return now;
}

if (isMain(import.meta.url)) {
  const data = resolve(process.env.DATA || at(".data/serve"));
  const from = resolve(process.env.FROM || fail("FROM says where the backup is: a copy of DATA"));
  if (!existsSync(`${from}/objects`)) fail(`${from} is no copy of DATA: it has no folder 'objects'`);
  const last = existsSync(noted(data)) ? readFileSync(noted(data), "utf8").trim() : 0;
  const now = bringBack(`${from}/objects`, `${data}/objects`, last);
  writeFileSync(noted(data), `${now}\n`, { mode: 0o600 });
  console.log(`brought back from ${from} at ${now}; 'make serve' goes on from there`);
}
