// What the server tells the person who is signed in, on the channel of their own: that the session may end soon, that a
// lease was lost, that an alert was escalated to them.
import { follow } from "./channel.mjs";

/** Follows it until `signal` aborts; `onEvent(event)` gets each event once. What was missed is looked up by whoever needs it. */
export function inbox(user, { onEvent, signal }) {
  follow(`user/${user.id}`, {
    paths: [],
    onEvents: (events) => events.forEach(onEvent),
    onState() {},
    reread: async () => true,
    signal,
  });
}
