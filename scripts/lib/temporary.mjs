// Folders that are removed by whoever made them.
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where files are in memory, on Linux. */
const MEMORY = "/dev/shm";

/** A new folder; where the machine can, in memory: for what is timed, and would else be the disk's time. */
export const temporary = (name, { inMemory = false } = {}) =>
  mkdtempSync(join(inMemory && existsSync(MEMORY) ? MEMORY : tmpdir(), `bedside-${name}-`));
