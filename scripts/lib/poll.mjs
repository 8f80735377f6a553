// Waiting for a condition: asks again and again until it holds, and says what was awaited when time is over.
import { setTimeout as pause } from "node:timers/promises";

/** Resolves with the first value of `test` that is neither undefined nor false; rejects after `within` ms. */
export async function poll(what, test, { within = 30_000, every = 25 } = {}) {
  const end = performance.now() + within;
  for (;;) {
    const value = await test();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`waited ${within / 1000} s in vain for ${what}`);
    await pause(every);
  }
}

/** Resolves with the first reply of any status that `url` gives. `alive` may say that nothing will ever answer. */
export const firstAnswer = (url, { within, alive = () => true } = {}) =>
  poll(
    `an answer of ${url}`,
    async () => {
      if (!alive()) throw new Error(`the server of ${url} has ended`);
      return fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
    },
    { within },
  );
