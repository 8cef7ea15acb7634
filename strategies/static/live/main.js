// The live page: puts the parts together.

import { takeOver } from "./actions.js";
import { Desk } from "./desk.js";
import { Filter } from "./filter.js";
import { clock } from "./format.js";
import { Keyboard } from "./keyboard.js";
import { List } from "./list.js";
import { Desktop } from "./notify.js";
import { Painter, cells, setData, setText } from "./painter.js";
import { fillers } from "./rows.js";
import { Score } from "./score.js";
import { Search } from "./search.js";
import { LiveSocket } from "./socket.js";
import { Sound } from "./sound.js";

const EVENTS_KEPT = 100;
const desk = new Desk();
const score = new Score(desk);
const painter = new Painter();
const fill = fillers(desk);
const desktop = new Desktop(document.querySelector("#notify"));
const sound = new Sound(document.querySelector("#sound"));
const lists = Object.fromEntries(Object.keys(fill).map((name) => [name, new List(name, painter, fill[name])]));
const bySymbol = new Map(); // symbol -> [[list, id]]
let chart = null; // until somebody wants to see one
const PRICED = ["strategies", "watch"];
const ROWS = { strategy: "strategies", exit: "exits", listener: "listeners" };

function onMessage(message) {
  desk.heard(message);
  if (message.type === "snapshot") snapshot(message);
  else if (message.type === "prices") prices(message.prices);
  else if (message.type === "alert") alertPerson(message.body);
  if (message.row) lists[ROWS[message.type]].upsert(message.row, { first: message.type === "exit" });
  if (message.event) happened(message.event);
  if (message.row) index();
  judge();
}

function snapshot(message) {
  for (const name of PRICED) {
    for (const row of message[name]) if (row.ltp !== null) desk.put(row.symbol, row.ltp, row.ltp_at);
  }
  for (const name of Object.keys(lists)) lists[name].replace(message[name]);
  alerts(message.alerts);
  score.take(message.score);
  index();
}

function prices(changes) {
  for (const [symbol, text, at] of changes) {
    desk.put(symbol, text, at);
    for (const [list, id] of bySymbol.get(symbol) ?? []) list.paint(id);
    chart?.take(symbol, text, at);
  }
}

function index() {
  bySymbol.clear();
  for (const name of PRICED) {
    for (const [id, row] of lists[name].rows) {
      if (!bySymbol.has(row.symbol)) bySymbol.set(row.symbol, []);
      bySymbol.get(row.symbol).push([lists[name], id]);
    }
  }
  summarise();
  markChart();
}

/** The chart of a row of the strategies or of the watch list. */
async function openChart(element) {
  const row = lists[element.closest("[data-list]").dataset.list].rows.get(element.dataset.id);
  if (!row) return; // nothing was heard of it yet
  try {
    const { Chart } = await import("./chart.js");
    chart ??= new Chart(desk);
  } catch {
    const line = document.querySelector("#alert");
    setText(line.querySelector("[data-alert-text]"), "The chart could not be loaded. Everything else works: try again later.");
    line.hidden = false;
    return;
  }
  markChart();
  await chart.show(row);
}

function markChart() {
  chart?.mark([...lists.strategies.rows.values()], [...lists.exits.rows.values()]);
}

function happened(event) {
  lists.events.upsert(event, { first: true });
  while (lists.events.elements.size > EVENTS_KEPT) lists.events.remove(lists.events.body.lastElementChild.dataset.id);
}

/** How many things call for a person stands in the title, where a tab in the background shows it. */
function summarise() {
  const trouble = [...lists.strategies.rows.values()].filter((row) => row.tone === "bad").length;
  const urgent = [...lists.alerts.rows.values()].filter((row) => row.waits && row.urgent).length;
  const calls = Math.max(trouble, urgent);
  document.title = calls ? `(${calls}) Tickguard` : "Tickguard";
}

function armed() {
  return [...lists.strategies.rows.values()].filter((row) => row.armed);
}

function alerts(rows) {
  const waiting = rows.filter((row) => row.waits);
  document.querySelector("#alerts").hidden = !rows.length;
  document.querySelector("#all-alerts").hidden = waiting.length < 2;
  desktop.keep(new Set(waiting.map((row) => row.id)));
}

/** An alert with an id stands in the list; one without is all there is of it. */
function alertPerson(body) {
  if (body.acknowledged) return;
  if (body.urgency || !body.level) {
    desktop.show(body);
    sound.play(body.urgency === "info" ? "info" : "urgent", body.id ?? body.text);
  }
  if (body.id) return;
  const line = document.querySelector("#alert");
  setText(line.querySelector("[data-alert-text]"), [body.mode, body.symbol, body.text].filter(Boolean).join(": "));
  line.hidden = false;
}

function judge() {
  const anyRunning = [...lists.listeners.rows.values()].some((row) => row.running && row.wanted > 0);
  const wasAlive = desk.alive;
  const [mood, words] = desk.judge(anyRunning);
  const pill = document.querySelector("#connection");
  setData(pill, "mood", mood);
  setText(pill.querySelector("[data-words]"), words);
  setData(document.body, "alive", String(desk.alive));
  document.querySelector("#stale").hidden = mood === "live" || mood === "idle" || !desk.heardAt;
  score.judge();
  if (wasAlive !== desk.alive) PRICED.forEach((name) => lists[name].paintAll());
}

function everySecond() {
  if (document.hidden) return;
  setText(document.querySelector("#clock"), `${clock(desk.now())} IST`);
  score.age(armed());
  for (const name of [...PRICED, "listeners"]) lists[name].paintAll();
}

function onAnswer(form, answer) {
  if (answer.row) lists.strategies.upsert(answer.row);
  if (answer.row) index();
  const place = form.closest("[data-id]");
  const note = (place && cells(place).note) ?? (form.dataset.act.endsWith("watch") ? document.querySelector("#watch-note") : null);
  setText(note, answer.ok && place ? "" : answer.text);
  setData(note, "tone", answer.ok ? "good" : "bad");
  if (form.dataset.act === "watch" && answer.ok) form.reset();
  if (/watch$|^acknowledge$/.test(form.dataset.act) && answer.ok) socket.send({ type: "snapshot" });
}

const socket = new LiveSocket("/ws/live/", {
  onMessage,
  onState: (state) => {
    desk.state = state;
    judge();
  },
});
takeOver(onAnswer);
const filter = document.querySelector("#filter");
new Filter(filter, document.querySelector("#filter-status"), PRICED.map((name) => lists[name]));
const help = document.querySelector("#keys");
new Keyboard({
  filter,
  help,
  onSelect: (element) => element && chart?.symbol && openChart(element),
  onOpen: openChart,
  onLeave: () => chart?.close(),
});
document.querySelector("#open-keys").addEventListener("click", () => help.showModal());
const toWatch = document.querySelector("#instruments");
new Search(toWatch, document.querySelector("#offers"), (symbol) => {
  toWatch.value = symbol;
  toWatch.form.requestSubmit();
});
document.querySelector("#alert button").addEventListener("click", () => (document.querySelector("#alert").hidden = true));
setInterval(everySecond, 1000);
setInterval(judge, 250);
everySecond();
