// Runs a program to its end. Its output goes through or is captured; a signal to this script ends what it started.
import { spawn } from "node:child_process";
import { environment, root } from "./project.mjs";

const running = new Set();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (!running.size && process.listenerCount(signal) > 1) return; // The script itself sees to it.
    for (const child of running) killGroup(child, "SIGTERM");
    process.exit(130);
  });
}

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended already.
  }
}

/**
 * Resolves with { code, output, ms } when `command` has ended; never rejects. `capture` collects what it prints instead of
 * letting it through; `timeout` in ms ends it. Each program leads a process group of its own, so that ending it ends its
 * children too.
 */
export function run(command, args, { env = {}, cwd = root, capture = false, timeout = 0, onData } = {}) {
  return new Promise((resolve) => {
    const start = performance.now();
    const stdio = capture || onData ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"];
    const child = spawn(command, args, { cwd, env: environment(env), stdio, detached: true });
    running.add(child);
    const chunks = [];
    const take = (chunk) => {
      if (capture) chunks.push(chunk);
      onData?.(chunk);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    const timer = timeout && setTimeout(() => killGroup(child, "SIGKILL"), timeout);
    const end = (code, signal, more = "") => {
      clearTimeout(timer);
      running.delete(child);
      const late = signal === "SIGKILL" && timeout ? `\nended after ${timeout / 1000} s without a result\n` : "";
      resolve({ code: code ?? 128, output: Buffer.concat(chunks).toString() + more + late, ms: performance.now() - start });
    };
    child.on("error", (error) => end(127, null, `${command}: ${error.message}\n`));
    child.on("close", (code, signal) => end(code, signal));
  });
}
