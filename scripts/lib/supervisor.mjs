// Runs one program for a parent and never outlives it: when the parent ends in whatever way, even by SIGKILL, the program
// and its children are ended too. Started by lib/supervised.mjs with a channel to the parent; leads a session of its own,
// so that a signal to the parent's group does not reach it before the parent has decided.
//   node supervisor.mjs JSON, with { command, args, grace, remove }: grace in ms between asking and killing,
//   remove: folders to delete if the parent has gone.
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";

const { command, args, grace = 3000, remove = [] } = JSON.parse(process.argv[2]);
let orphaned = false;
let killer;

const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "pipe"], detached: true });
const tell = (message) => process.connected && process.send(message, () => {});
const killGroup = (signal) => {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended already.
  }
};
const stop = () => {
  killGroup("SIGTERM");
  killer ??= setTimeout(() => killGroup("SIGKILL"), grace);
};

child.on("error", (error) => tell({ failed: error.message }));
child.on("spawn", () => tell({ pid: child.pid }));
// The third channel is workerd's --control-fd: one line of JSON for each socket it listens on.
child.stdio[3].setEncoding("utf8").on("data", (control) => tell({ control }));
child.stdio[3].on("error", () => {});
child.on("exit", (code, signal) => {
  clearTimeout(killer);
  killGroup("SIGKILL");
  const finish = () => {
    if (orphaned) for (const folder of remove) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    process.exit(0);
  };
  if (process.connected) process.send({ exit: { code, signal } }, finish);
  else finish();
});

process.on("message", ({ stop: asked, kill }) => {
  if (asked) stop();
  if (kill && child.exitCode === null && child.signalCode === null) process.kill(child.pid, kill);
});
process.on("disconnect", () => {
  orphaned = true;
  stop();
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
process.on("uncaughtException", () => killGroup("SIGKILL"));
