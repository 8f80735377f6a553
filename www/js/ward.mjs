// A ward as it is now and as it goes on: which there are for whom, and one of them followed.
import { api, pages } from "./api.mjs";
import { follow } from "./channel.mjs";
import { compare } from "./format.mjs";
import { Board, ofBoard } from "./model/board.mjs";

const isWard = ({ physicalType }) => Boolean(physicalType?.coding?.some(({ code }) => code === "wa"));

/** [{ id, name }] of the wards of this person; of all wards for an administrator. */
export async function readWards(user, options) {
  const { resources } = await pages("/fhir/Location?_count=200", { ...options, most: 10 });
  return resources
    .filter((place) => isWard(place) && (user.role === "admin" || user.wards?.includes(place.id)))
    .map(({ id, name }) => ({ id, name: name ?? id }))
    .sort((a, b) => compare(a.name, b.name));
}

/** Who is in a ward is looked at so often: that somebody comes or goes is no event of their vital signs. */
const lookEvery = 60_000;
/** When an event shows that somebody has come, at most so often. */
const lookAgain = 5_000;

/**
 * Follows a ward until `signal` aborts: { board, state, name, read, failure, retry() }, kept up to date.
 *   update()         something has changed
 *   onEvent(event)   each event after the board has taken it
 */
export function followWard(id, { signal, update, onEvent = () => {} }) {
  const path = `/wards/${encodeURIComponent(id)}/board`;
  const self = { board: new Board(), state: undefined, name: "", read: false, failure: undefined, retry: () => channel.retry() };
  let looked = Date.now();
  const look = () => {
    looked = Date.now();
    channel.refresh();
  };
  const looking = setInterval(look, lookEvery);
  signal.addEventListener("abort", () => clearInterval(looking));
  const channel = follow(`ward/${id}`, {
    paths: [path],
    onEvents(events) {
      let stranger = false;
      for (const event of events) {
        stranger = self.board.takeEvent(event) || stranger;
        onEvent(event);
      }
      if (stranger && self.read && Date.now() - looked > lookAgain) look();
      update();
    },
    onState(state) {
      self.state = state;
      update();
    },
    async reread({ history }) {
      const options = { background: true, signal };
      try {
        const [body, past] = await Promise.all([
          api.get(path, options),
          history && api.get(`/channels/ward/${id}?after=${history.after}&limit=${history.limit}`, options),
        ]);
        const snapshot = ofBoard(body);
        self.board.takeSnapshot(snapshot);
        if (past) self.board.takePast(past.events);
        [self.name, self.read, self.failure] = [snapshot.name, true, undefined];
        return true;
      } catch (error) {
        self.failure = error;
        throw error;
      } finally {
        update();
      }
    },
    signal,
  });
  return self;
}
