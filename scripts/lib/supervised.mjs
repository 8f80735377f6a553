// Starts a server that never outlives this process, whatever ends this process. See supervisor.mjs, which watches.
import { spawn } from "node:child_process";
import { at, environment, node, root } from "./project.mjs";

/**
 * Starts `command` and returns at once:
 *   pid()         resolves with the program's process id; rejects if it cannot be started
 *   control(n)    resolves with the first n messages of its control channel (parsed JSON lines)
 *   exited        resolves with { code, signal } when it has ended
 *   kill(signal)  sends it a signal and resolves when it has ended
 *   stop()        asks it to end, kills it after `grace` ms, and resolves when it and its children have ended
 * `onOutput` gets what it prints, or it goes to this process's own output. Does not keep this process alive, except while
 * something is awaited from it.
 */
export function supervised(command, args, { env = {}, cwd = root, grace, remove, onOutput } = {}) {
  const supervisor = spawn(node, [at("scripts/lib/supervisor.mjs"), JSON.stringify({ command, args, grace, remove })], {
    cwd,
    env: environment(env),
    stdio: ["ignore", onOutput ? "pipe" : "inherit", onOutput ? "pipe" : "inherit", "ipc"],
    detached: true,
  });
  let controlText = "";
  let pid;
  let failed;
  let ended;
  const waiting = new Set();
  const settle = () => {
    for (const check of waiting) check();
  };
  // Resolves when test() gives a value; while it waits, the process stays alive for it.
  const until = (test) =>
    new Promise((resolve, reject) => {
      supervisor.ref();
      supervisor.channel?.ref();
      const check = () => {
        const value = test();
        if (value === undefined && !failed && !(ended && test !== hasEnded)) return;
        waiting.delete(check);
        if (!waiting.size) {
          supervisor.unref();
          supervisor.channel?.unref();
        }
        if (value !== undefined) resolve(value);
        else reject(new Error(failed ?? `${command} ended too early (${ended.signal ?? `code ${ended.code}`})`));
      };
      waiting.add(check);
      check();
    });
  const hasEnded = () => ended;

  supervisor.on("message", (message) => {
    if (message.pid) pid = message.pid;
    if (message.failed) {
      failed = `${command}: ${message.failed}`;
      ended = { code: 127, signal: null };
    }
    if (message.control) controlText += message.control;
    if (message.exit) ended = message.exit;
    settle();
  });
  supervisor.on("error", (error) => {
    failed = error.message;
    settle();
  });
  supervisor.on("exit", () => {
    ended ??= { code: null, signal: "SIGKILL" };
    settle();
  });
  if (onOutput) {
    for (const stream of [supervisor.stdout, supervisor.stderr]) {
      stream.on("data", onOutput);
      stream.unref();
    }
  }
  supervisor.unref();
  supervisor.channel.unref();

  const ask = (message) => {
    if (!ended && supervisor.connected) supervisor.send(message, () => {});
    return until(hasEnded);
  };
  return {
    pid: () => until(() => pid),
    control: (count) =>
      until(() => {
        const lines = controlText.split("\n").slice(0, -1);
        return lines.length >= count ? lines.map((line) => JSON.parse(line)) : undefined;
      }),
    get exited() {
      return until(hasEnded);
    },
    get running() {
      return !ended;
    },
    kill: (signal = "SIGKILL") => ask({ kill: signal }),
    stop: () => ask({ stop: true }),
  };
}
