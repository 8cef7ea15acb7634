// What the page knows: prices, the server's time, and whether any of it can be trusted.

import { toUnits } from "./format.js";

const SILENT_AFTER = 2_500; // the server says something each second
const BEATS_LOST = 2_700; // and so do the listeners
const CLOCK_KEPT = 15_000;

export class Desk {
  constructor() {
    this.prices = new Map(); // symbol -> {text, at, before}
    this.offset = 0; // server clock minus ours
    this.offsetAt = -Infinity;
    this.heardAt = 0; // our clock; 0: nothing yet
    this.beatAt = null; // server clock
    this.state = "connecting";
    this.alive = false;
  }

  now() {
    return Date.now() + this.offset;
  }

  heard(message) {
    this.heardAt = performance.now();
    const offset = message.at - Date.now();
    // What was held up on its way tells a time long past, and old prices would look young.
    if (offset >= this.offset || this.heardAt - this.offsetAt > CLOCK_KEPT) {
      this.offset = offset;
      this.offsetAt = this.heardAt;
    }
    if (message.type === "heartbeat") this.beatAt = message.listeners_at;
  }

  put(symbol, text, at) {
    const old = this.prices.get(symbol);
    if (old && old.at > at) return;
    this.prices.set(symbol, { text, at, before: old?.text === text ? old.before : old?.text });
  }

  /** Returns [mood, words] for the pill, and settles whether prices may look live. */
  judge(anyRunning) {
    const silent = !this.heardAt || performance.now() - this.heardAt > SILENT_AFTER;
    const deaf = anyRunning && (this.beatAt === null || this.now() - this.beatAt > BEATS_LOST);
    this.alive = this.state === "open" && !silent && !deaf;
    if (this.state === "forbidden") return ["down", "No access"];
    if (this.state === "crowded") return ["down", "Too many pages open"];
    if (this.state === "paused") return ["idle", "Catching up"];
    if (this.state !== "open") return ["down", this.heardAt ? "Disconnected" : "Connecting"];
    if (silent) return ["stale", "No news"];
    if (deaf) return ["stale", "Listeners silent"];
    return anyRunning ? ["live", "Live"] : ["idle", "Idle"];
  }
}

/** Where a price went: "up", "down", or "" for the first one. Found out only for rows that are painted. */
export function moveOf(known) {
  if (known?.before === undefined) return "";
  return toUnits(known.text) > toUnits(known.before) ? "up" : "down";
}
