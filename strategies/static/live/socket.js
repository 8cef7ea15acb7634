// The connection: reads, acknowledges, notices gaps, comes back by itself.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const LOGIN_NEEDED = 4401;
const FORBIDDEN = 4403;
const TOO_MANY = 4429;

export class LiveSocket {
  /** `onMessage(message)`, `onState("connecting" | "open" | "closed" | "forbidden" | "crowded")` */
  constructor(path, { onMessage, onState }) {
    this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
    this.onMessage = onMessage;
    this.onState = onState;
    this.failures = 0;
    this.open();
  }

  open() {
    this.seq = 0;
    this.onState("connecting");
    this.socket = new WebSocket(this.url);
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.closed(event.code);
  }

  take(message) {
    if (message.type === "snapshot") this.failures = 0;
    if (message.seq !== this.seq + 1) this.send({ type: "snapshot" });
    this.seq = message.seq;
    if (message.type === "prices") this.send({ type: "ack", seq: message.seq });
    this.onState("open");
    this.onMessage(message);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  closed(code) {
    if (code === LOGIN_NEEDED) return location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
    if (code === FORBIDDEN) return this.onState("forbidden");
    this.onState(code === TOO_MANY ? "crowded" : "closed");
    // Full jitter: after a restart of the server not every browser knocks at once.
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures++);
    setTimeout(() => this.open(), code === TOO_MANY ? LONGEST_WAIT : 100 + Math.random() * longest);
  }
}
