// A reader of event streams for tests, by the rules of the HTML Living Standard, section 9.2.6.

/**
 * Reads the stream at `url`; `last` goes as Last-Event-ID, `after` as the parameter. Resolves with the head's arrival:
 * { status, headers, text, all, events, lastId, ended, until(test), cut() }. `all` are the events dispatched, `events` those
 * of them about records in the shape that frames and pages give.
 */
export async function readStream(t, url, token, { last, after } = {}) {
  const leave = new AbortController();
  t.after(() => leave.abort());
  const query = after ? `?after=${encodeURIComponent(after)}` : "";
  const headers = { accept: "text/event-stream", authorization: `Bearer ${token}`, ...(last && { "last-event-id": last }) };
  const reply = await fetch(url + query, { headers, signal: leave.signal });
  const waiting = new Set();
  let rest = "";
  const self = {
    status: reply.status,
    headers: reply.headers,
    /** All that came. */
    text: "",
    all: [],
    lastId: undefined,
    get events() {
      return self.all
        .filter((event) => event.kind !== "gap")
        .map(({ cursor, kind, data: { id, at, data } }) => ({ cursor, id, kind, at, data }));
    },
    /** Resolves as soon as `test(self)` holds; rejects after `within` ms. */
    until(test, what, within = 60_000) {
      return new Promise((resolve, reject) => {
        const check = () => {
          if (!test(self)) return;
          clearTimeout(timer);
          waiting.delete(check);
          resolve(self);
        };
        const timer = setTimeout(() => {
          waiting.delete(check);
          reject(new Error(`waited in vain for ${what}; got ${self.text.slice(0, 2000)}`));
        }, within);
        waiting.add(check);
        check();
      });
    },
    /** Goes away in mid-stream. */
    cut: () => {
      leave.abort();
      return self.ended;
    },
  };
  const dispatch = (block) => {
    const fields = { data: [] };
    for (const line of block.split("\n")) {
      const [, name, value] = line.match(/^([^:]*):? ?(.*)$/s);
      if (name === "data") fields.data.push(value);
      else if (name) fields[name] = value;
    }
    self.lastId = fields.id ?? self.lastId;
    if (fields.data.length) self.all.push({ cursor: self.lastId, kind: fields.event, data: JSON.parse(fields.data.join("\n")) });
  };
  const read = async () => {
    const decoder = new TextDecoder();
    for await (const chunk of reply.body) {
      const text = decoder.decode(chunk, { stream: true });
      self.text += text;
      const blocks = (rest + text).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(dispatch);
      for (const check of [...waiting]) check();
    }
  };
  /** Resolves when the stream is over, however it ended. */
  self.ended = read().catch(() => {});
  return self;
}
