// A plain room: each message is inserted into SQLite and sent to every socket. What one writes first, and what Bedside's
// topics are measured against.
import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)");
  }

  async fetch(request) {
    if (request.headers.get("upgrade") === "websocket") {
      const pair = new WebSocketPair();
      this.ctx.acceptWebSocket(pair[1]);
      return new Response(null, { status: 101, webSocket: pair[0] });
    }
    const text = await request.text();
    this.ctx.storage.sql.exec("INSERT INTO messages (text) VALUES (?)", text);
    for (const socket of this.ctx.getWebSockets()) socket.send(text);
    return new Response(null, { status: 201 });
  }

  webSocketMessage() {}
}

export default {
  fetch: (request, env) => env.ROOMS.get(env.ROOMS.idFromName("room")).fetch(request),
};
