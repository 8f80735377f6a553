// Sees to it that a program some tests need is on the machine: as root on Debian it is installed, elsewhere one sentence
// says what to install.
//   node scripts/need.mjs redis-server chromium      prints where each is
//   import { need } from ".../need.mjs"; need("chromium")   resolves with its path
// CHROMIUM and REDIS_SERVER name a program that is somewhere else.
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fail, isMain } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";

const programs = {
  "redis-server": {
    packages: ["redis-server"],
    names: ["redis-server"],
    say: "install Redis (`brew install redis`, or your system's package redis-server)",
  },
  "nginx-nchan": {
    packages: ["nginx", "libnginx-mod-nchan"],
    names: ["nginx", "/usr/sbin/nginx"],
    needs: "/usr/lib/nginx/modules/ngx_nchan_module.so",
    say: "install nginx with its module Nchan (Debian's packages nginx and libnginx-mod-nchan)",
  },
  chromium: {
    packages: ["chromium"],
    names: [
      "chromium",
      "chromium-browser",
      "google-chrome",
      "/Applications/Chromium.app/Contents/MacOS/Chromium",
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ],
    say: "install Chromium or Chrome (`brew install --cask chromium`, or your system's package chromium)",
  },
};

function find(names) {
  const places = (process.env.PATH ?? "").split(delimiter);
  for (const path of names.flatMap((name) => (name.startsWith("/") ? [name] : places.map((place) => join(place, name))))) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
}

/** The path of the program; installs it if it may. Rejects with the sentence that says what to install. */
export async function need(name) {
  const program = programs[name];
  if (!program) throw new Error(`need.mjs does not know '${name}'`);
  const elsewhere = process.env[name.toUpperCase().replaceAll("-", "_")];
  const look = () => (!program.needs || existsSync(program.needs) ? find(program.names) : undefined);
  const found = elsewhere ? find([elsewhere]) : look();
  if (found) return found;
  if (existsSync("/etc/debian_version") && process.getuid() === 0 && !elsewhere) {
    // Services that a package brings are not started: the tests start their own.
    const apt = (...args) =>
      run("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=300", ...args], {
        env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
        capture: true,
      });
    const install = () => apt("install", "-y", "--no-install-recommends", ...program.packages);
    let result = await install();
    if (result.code) {
      await apt("update");
      result = await install();
    }
    const installed = look();
    if (installed) return installed;
    throw new Error(`apt-get could not install ${name}: ${result.output.trim().split("\n").pop()}`);
  }
  throw new Error(`These tests need ${name}: ${program.say}.`);
}

if (isMain(import.meta.url)) {
  for (const name of process.argv.slice(2)) console.log(await need(name).catch((error) => fail(error.message)));
}
