// How each kind of row is filled.

import { moveOf } from "./desk.js";
import * as format from "./format.js";
import { cells, setData, setText } from "./painter.js";

export const OLD_AFTER = 5_000;
const NEAR = 0.5; // percent
const FULL_BAR = 3; // percent of room that fills the bar
const SIDE = { BOUGHT: "Long", SOLD: "Short", NONE: "No position" };

/** Fills rows; `desk` knows the prices, the time and whether the feed is alive. */
export function fillers(desk) {
  return {
    strategies: (element, row) => strategy(element, row, desk),
    watch: (element, row) => watched(element, row, desk),
    exits: (element, row) => exit(element, row, desk),
    listeners: (element, row) => listener(element, row, desk),
    events: (element, row) => event(element, row, desk),
    alerts: (element, row) => alert(element, row, desk),
  };
}

function strategy(element, row, desk) {
  const cell = cells(element);
  setText(cell.name, row.title);
  cell.name.href = `/strategies/${row.id}/`;
  setText(cell.symbol, row.symbol);
  setText(cell.held, held(row));
  setText(cell.detail, row.detail);
  cell.stop.href = `/strategies/${row.id}/stop-price/`;
  cell.edit.href = `/strategies/${row.id}/edit/`;
  setText(cell.stop, format.price(row.stop, row.decimals));
  const doubtful = !desk.alive && row.status === "active" && row.tone === "good"; // as far as was last heard
  setText(cell.state, doubtful ? `${row.state}, not confirmed` : row.state);
  setData(cell.state, "tone", doubtful ? "busy" : row.tone);
  const live = lastPrice(element, cell, row, desk);
  room(element, cell, row, row.status === "active" || row.status === "draft" ? live : null);
  buttons(element, row);
}

function held(row) {
  if (row.position === "NONE") return SIDE.NONE;
  return `${SIDE[row.position]} ${format.grouped(row.quantity)} · ${row.product}`;
}

function lastPrice(element, cell, row, desk) {
  const known = desk.prices.get(row.symbol);
  const old = !known || !desk.alive || desk.now() - known.at > OLD_AFTER;
  setData(element, "old", !known ? "none" : old && desk.alive && row.open === false ? "closed" : String(old));
  setText(cell.ltp, known ? format.price(known.text, row.decimals) : "–");
  setData(cell.ltp, "move", moveOf(known));
  setText(cell.age, known ? format.age(Math.max(0, desk.now() - known.at)) : "no price yet");
  return known?.text ?? null;
}

function room(element, cell, row, ltp) {
  const left = format.distance(row, ltp);
  setText(cell.points, left ? left.points : "–");
  setText(cell.percent, left ? (left.passed ? "at the stop" : `${left.percent.toFixed(2)} %`) : "");
  setText(cell.risk, left && !left.passed && left.rupees !== null ? `₹${left.rupees}` : "");
  setData(element, "near", String(Boolean(left) && left.percent < NEAR));
  const share = left ? Math.max(0, Math.min(1, left.percent / FULL_BAR)) : 0;
  cell.bar.style.transform = `scaleX(${share.toFixed(3)})`;
  cell.bar.parentElement.hidden = !left;
}

function buttons(element, row) {
  for (const form of element.querySelectorAll("form[data-act]")) {
    form.hidden = !row[`can_${form.dataset.act}`];
    form.action = `/strategies/${row.id}/${form.dataset.act}/`;
    if (form.dataset.arming) form.dataset.ask = row.is_live ? form.dataset.arming : "";
  }
}

function decisions(element, row) {
  element.querySelector(".decide").hidden = !row.can_decide;
  for (const form of element.querySelectorAll("form[data-act]")) form.action = `/exits/${row.id}/${form.dataset.act}/`;
}

function watched(element, row, desk) {
  const cell = cells(element);
  setText(cell.symbol, row.symbol);
  setText(cell.name, row.title);
  cell.instrument.value = row.symbol;
  cell.remove.setAttribute("aria-label", `Stop watching ${row.symbol}`);
  lastPrice(element, cell, row, desk);
}

function exit(element, row, desk) {
  const cell = cells(element);
  setText(cell.at, format.moment(row.at, desk.now()));
  setText(cell.name, row.title);
  cell.name.href = `/strategies/${row.strategy}/`;
  setText(cell.why, row.trigger ? `Stop touched at ${format.price(row.trigger, row.decimals)}` : "Asked for by you");
  setText(cell.state, row.state);
  setData(cell.state, "tone", row.tone);
  setText(cell.detail, row.detail);
  decisions(element, row);
}

function listener(element, row, desk) {
  const cell = cells(element);
  const since = row.last_tick_at === null ? null : Math.max(0, desk.now() - row.last_tick_at);
  const ticking = row.connected && since !== null && since < OLD_AFTER + 3_000; // rows are reported every 2 s
  setText(cell.name, row.name);
  setText(cell.broker, row.simulated ? `${row.broker} · simulated` : row.broker);
  setText(cell.state, row.state);
  setData(cell.state, "tone", row.tone);
  cell.state.hidden = row.connected; // the facts below say so
  fact(cell.login, row.logged_in, row.login);
  cell.again.hidden = row.logged_in;
  cell.name.href = row.account_url;
  cell.login_link.href = row.login_url;
  fact(cell.connected, row.connected, row.connected ? "Connected" : "Not connected");
  fact(cell.subscribed, row.subscribed > 0 && row.subscribed >= row.wanted, `${row.subscribed} of ${row.wanted} subscribed`);
  fact(cell.ticking, ticking, ticking ? "Ticking" : since === null ? "No tick yet" : `Last tick ${format.age(since)}`);
  setText(cell.error, row.error && !row.connected ? row.error : "");
}

function fact(cell, holds, text) {
  setText(cell, text);
  setData(cell, "holds", String(holds));
}

function event(element, row, desk) {
  const cell = cells(element);
  setText(cell.at, format.moment(row.at, desk.now()));
  setText(cell.subject, row.subject);
  setText(cell.text, row.text);
  setData(element, "tone", row.tone);
}

function alert(element, row, desk) {
  const cell = cells(element);
  const form = element.querySelector("form");
  setText(cell.mode, row.mode);
  setData(cell.mode, "mode", row.mode);
  setText(cell.name, row.title);
  if (row.strategy) cell.name.href = `/strategies/${row.strategy}/`;
  setText(cell.kind, row.kind);
  setData(cell.state, "tone", row.tone);
  setText(cell.text, row.text);
  setText(cell.at, format.moment(row.at, desk.now()));
  setText(cell.after, row.note);
  setData(element, "waits", String(row.waits));
  form.action = `/alerts/${row.id}/acknowledge/`;
  form.hidden = !row.waits;
  setText(form.querySelector("button"), row.urgent ? "Acknowledge" : "Dismiss");
}
