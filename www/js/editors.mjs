// Who is editing what in one patient's chart. The lease says so; a notice on the patient's channel says when to look.
import { api } from "./api.mjs";

/** Of so many open records it is looked up who is editing them when a chart is opened. */
const mostLooked = 40;
/** A held lease is looked at again so long after it would end. */
const afterEnd = 500;

/** Tells whoever has the chart open that the editing of a record has begun or ended. Nothing rests on it. */
export const tellEditing = (patient, name) =>
  api.post(`/channels/patient/${encodeURIComponent(patient)}`, { kind: "notice", data: { editing: name } }, { background: true, signingIn: true }).catch(() => {});

/**
 * { look(names), hear(event), of(name) }: `of` gives { holder, since } of a record that somebody is editing. `onNotice(type, id)`:
 * the editing of a record has begun or ended, which may have changed it.
 */
export function editors({ signal, update, onNotice }) {
  const held = new Map();
  const timers = new Map();
  const seen = new Set();

  async function lookAt(name) {
    clearTimeout(timers.get(name));
    try {
      const { held: taken, holder, since, expires_in_ms } = await api.get(`/leases/${encodeURIComponent(name)}`, { background: true, signal });
      if (taken) held.set(name, { holder, since: Date.parse(since) });
      else held.delete(name);
      if (taken) timers.set(name, setTimeout(lookAt, expires_in_ms + afterEnd, name));
      update();
    } catch {
      // A help, never needed: the server refuses what must not be.
    }
  }
  signal.addEventListener("abort", () => timers.forEach(clearTimeout));

  return {
    /** Looks at those that have not been looked at yet. */
    look(names) {
      for (const name of names.slice(0, mostLooked)) if (!seen.has(name) && seen.add(name)) lookAt(name);
    },
    hear({ kind, data }) {
      const [name, type, id] = (kind === "notice" && /^(Condition|DiagnosticReport):([A-Za-z0-9.-]{1,64})$/.exec(data?.editing)) || [];
      if (!name) return;
      lookAt(name);
      onNotice(type, id);
    },
    of: (name) => held.get(name),
  };
}
