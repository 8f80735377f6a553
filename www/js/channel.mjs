// Follows one topic: carries out what recovery.mjs decides with a real socket, real timers and the page's own events.
import { ApiError, api } from "./api.mjs";
import { initial, step } from "./recovery.mjs";

const socketUrl = (topic, after) => {
  const url = new URL(`/channels/${topic}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (after !== null) url.searchParams.set("after", after);
  return url;
};

/**
 * Follows `topic` until `signal` aborts. Returns { retry(), refresh() }.
 *   paths                     the paths that give the present state of the topic
 *   onEvents(events)          events in order; after a reading those that came during it once more
 *   onState(state)            after every change of recovery.mjs's state
 *   reread({paths, history})  reads the present state; resolves with whether it covers everything
 */
export function follow(topic, { paths, onEvents, onState, reread, signal }) {
  let state = initial(paths);
  let socket;
  const timers = new Map();

  const dispatch = (event) => {
    const [next, effects] = step(state, { ...event, at: Date.now(), random: Math.random() });
    const changed = next !== state;
    state = next;
    for (const effect of effects) carryOut[effect.do](effect);
    if (changed && !signal.aborted) onState(state);
  };

  const cancel = (name) => {
    clearTimeout(timers.get(name));
    timers.delete(name);
  };

  const carryOut = {
    open({ connection, after }) {
      const opened = new WebSocket(socketUrl(topic, after), "bedside.v1");
      socket = { connection, opened };
      opened.onmessage = ({ data }) => dispatch({ type: "frame", connection, text: data });
      opened.onclose = ({ code }) => dispatch({ type: "closed", connection, code });
    },
    close({ connection }) {
      if (socket?.connection !== connection) return;
      socket.opened.onmessage = socket.opened.onclose = null;
      socket.opened.close();
      socket = undefined;
    },
    send({ connection, text }) {
      if (socket?.connection === connection && socket.opened.readyState === WebSocket.OPEN) socket.opened.send(text);
    },
    timer({ name, ms }) {
      cancel(name);
      timers.set(name, setTimeout(() => dispatch({ type: "timer", name }), ms));
    },
    cancel: ({ name }) => cancel(name),
    deliver: ({ events }) => onEvents(events),
    reread({ id, paths, history }) {
      reread({ paths, history }).then(
        (complete) => dispatch({ type: "rereadDone", id, complete }),
        (error) => {
          if (!signal.aborted && !(error instanceof ApiError)) console.error(error);
          dispatch({ type: "rereadFailed", id });
        },
      );
    },
    // A browser does not tell why a socket was refused; the same path by HTTP does. A 401 is taken care of by api.mjs.
    probe() {
      const after = state.cursor === null ? "" : `&after=${state.cursor}`;
      api.get(`/channels/${topic}?limit=1${after}`, { background: true, signal }).catch((error) => {
        if ([403, 404, 410].includes(error.status)) dispatch({ type: "refused", message: error.message });
      });
    },
  };

  const on = (target, name, type) => target.addEventListener(name, () => dispatch({ type }), { signal });
  on(window, "online", "online");
  on(window, "offline", "offline");
  document.addEventListener("visibilitychange", () => document.hidden || dispatch({ type: "wake" }), { signal });
  signal.addEventListener("abort", () => dispatch({ type: "stop" }));
  dispatch({ type: "start" });
  return { retry: () => dispatch({ type: "wake" }), refresh: () => dispatch({ type: "refresh" }) };
}
