// A main module for tests: the product, with a count of the rows that its objects have written, by class, as the platform
// counts them (indexes included) and with alarms that were set: GET /rows.
import { WorkerEntrypoint } from "cloudflare:workers";
import Product, { Clinic as RealClinic, Shard as RealShard, Topic as RealTopic } from "./main.js";

const cursors = { Clinic: [], Shard: [], Topic: [] };
const rows = { Clinic: 0, Shard: 0, Topic: 0 };
const alarms = { Clinic: 0, Shard: 0, Topic: 0 };

/** What has been written so far; a cursor says so once it has been read. */
function counted() {
  for (const [name, list] of Object.entries(cursors)) for (const cursor of list.splice(0)) rows[name] += cursor.rowsWritten;
  return { rows, alarms };
}

/** The state of an object of class `name`, with everything that writes counted. */
function counting(ctx, name) {
  const bound = (target, key) => {
    const value = target[key];
    return typeof value === "function" ? value.bind(target) : value;
  };
  const sql = new Proxy(ctx.storage.sql, {
    get: (target, key) =>
      key !== "exec"
        ? bound(target, key)
        : (...args) => {
            const cursor = target.exec(...args);
            if (cursors[name].push(cursor) > 1000) counted();
            return cursor;
          },
  });
  const storage = new Proxy(ctx.storage, {
    get(target, key) {
      if (key === "sql") return sql;
      return key !== "setAlarm"
        ? bound(target, key)
        : (...args) => {
            alarms[name] += 1;
            return target.setAlarm(...args);
          };
    },
  });
  return Object.defineProperty(ctx, "storage", { value: storage });
}

export default class extends WorkerEntrypoint {
  async fetch(request) {
    if (new URL(request.url).pathname === "/rows") return Response.json(counted());
    return Product.fetch(request, this.env, this.ctx);
  }
}

export class Clinic extends RealClinic {
  constructor(ctx, env) {
    super(counting(ctx, "Clinic"), env);
  }
}

export class Shard extends RealShard {
  constructor(ctx, env) {
    super(counting(ctx, "Shard"), env);
  }
}

export class Topic extends RealTopic {
  constructor(ctx, env) {
    super(counting(ctx, "Topic"), env);
  }
}
