// The sockets of one object while it is awake, and the loop that sends to all of them: a call out of WebAssembly for each
// would cost more than the sending. Each socket knows its place in the list, so that what a client says finds its listener.
//
// What comes while a round of sends is under way is sent as one when it is over; what comes alone is sent at once. It waits
// here and not in the program's memory, so that a fault in the program does not lose it.
const places = new WeakMap();

export function enter(list, socket) {
  places.set(socket, list.length);
  list.push(socket);
}

/** The place of `socket`, or -1. */
export const placeOf = (socket) => places.get(socket) ?? -1;

/** Takes the socket at `place` out; the last one takes its place. */
export function leave(list, place) {
  places.delete(list[place]);
  const last = list.pop();
  if (place === list.length) return;
  list[place] = last;
  places.set(last, place);
}

function sendAll(list, text) {
  for (const socket of list) {
    try {
      socket.send(text);
    } catch {
      // It is closing, and comes back with its cursor.
    }
  }
}

/** What waits for a list: what goes around the events of a frame, and the events. */
const waiting = new WeakMap();

/** Sends everybody what waits. */
export function flush(list) {
  const group = waiting.get(list);
  if (!group?.events.length) return false;
  const [open, close] = group.around;
  const events = group.events.splice(0);
  group.characters = 0;
  sendAll(list, open + events.join(",") + close);
  return true;
}

const over = (list) => {
  if (flush(list)) setTimeout(over, 0, list);
  else waiting.delete(list);
};

/** Sends everybody `events`, the texts of some with commas between, in a frame between `open` and `close`. */
export function round(list, open, events, close, most) {
  const group = waiting.get(list);
  if (!group) {
    waiting.set(list, { around: [open, close], events: [], characters: 0 });
    setTimeout(over, 0, list);
    return sendAll(list, open + events + close);
  }
  if (group.characters + events.length > most) flush(list);
  group.events.push(events);
  group.characters += events.length;
}

/** Sends everybody `text` after whatever waits. */
export function announce(list, text) {
  flush(list);
  sendAll(list, text);
}
