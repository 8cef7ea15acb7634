// The connection: reads, acknowledges, notices gaps and silence, pauses while nobody looks, comes back by itself.

import { Parts } from "./parts.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const ACK_EVERY = 2; // price frames; the server sends four ahead
const SILENT = 8_000; // the server says something each second: such a connection is dead, whatever it says of itself
const HIDDEN_FOR = 3_000; // a glance at another tab is not worth a snapshot
const LOGIN_NEEDED = 4401;
const FORBIDDEN = 4403;
const TOO_MANY = 4429;

export class LiveSocket {
  /**
   * `onMessage(message)`, `onState(state)`: "connecting"; "open"; "paused" (hidden, or back and not yet caught up: prices
   * are old); "closed" (comes back by itself); "forbidden"; "crowded" (too many pages, tries again).
   */
  constructor(path, { onMessage, onState }) {
    this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
    this.onMessage = onMessage;
    this.onState = onState;
    this.failures = 0;
    document.addEventListener("visibilitychange", () => this.looked());
    addEventListener("online", () => this.hurry());
    setInterval(() => this.listen(), 1_000);
    this.open();
  }

  /** Says something to the server; lost when there is no connection. */
  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }

  open() {
    this.retry = null;
    this.seq = 0;
    this.unread = 0;
    this.paused = false;
    this.behind = true; // until a snapshot
    this.parts = new Parts();
    this.heardAt = performance.now();
    this.become("connecting");
    const socket = new WebSocket(this.url);
    socket.onmessage = (event) => socket === this.socket && this.take(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.socket && this.closed(event.code);
    this.socket = socket;
  }

  take(message) {
    this.heardAt = performance.now();
    if (message.seq !== this.seq + 1) this.lost();
    this.seq = message.seq;
    const whole = this.parts.take(message);
    if (whole) this.tell(whole);
  }

  lost() {
    this.parts.forget();
    this.send({ type: "snapshot" });
  }

  tell(message) {
    if (message.type === "snapshot") {
      this.failures = 0;
      this.behind = this.paused;
      this.pauseSoon();
    }
    if (message.type === "prices") this.acknowledge();
    this.become(this.behind ? "paused" : "open");
    this.onMessage(message);
  }

  acknowledge() {
    this.unread = (this.unread + 1) % ACK_EVERY;
    if (this.unread === 0) this.send({ type: "ack", seq: this.seq });
  }

  looked() {
    if (document.hidden) return this.pauseSoon();
    clearTimeout(this.hiding);
    this.hurry();
    if (!this.paused) return;
    this.paused = false; // the snapshot that follows ends `behind`
    this.send({ type: "resume" });
  }

  pauseSoon() {
    clearTimeout(this.hiding);
    if (document.hidden && !this.paused) this.hiding = setTimeout(() => this.pause(), HIDDEN_FOR);
  }

  pause() {
    if (this.socket.readyState !== WebSocket.OPEN || this.behind) return; // after the snapshot, then
    this.paused = this.behind = true;
    this.unread = 0;
    this.send({ type: "pause" });
    this.become("paused");
  }

  /** Gives up a connection that says nothing: a network that went away closes nothing. */
  listen() {
    if (this.socket && performance.now() - this.heardAt > SILENT) {
      const silent = this.socket;
      this.closed(0);
      silent.close();
    }
  }

  /** Somebody looks, or the network is back: a wait for the next try ends. */
  hurry() {
    if (this.retry === null) return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), Math.random() * FIRST_WAIT);
  }

  closed(code) {
    this.socket = null;
    if (code === LOGIN_NEEDED) return location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
    if (code === FORBIDDEN) return this.become("forbidden");
    this.become(code === TOO_MANY ? "crowded" : "closed");
    // Full jitter: after a restart of the server not every browser knocks at once.
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures++);
    this.retry = setTimeout(() => this.open(), code === TOO_MANY ? LONGEST_WAIT : 100 + Math.random() * longest);
  }
}
