// Keeps the badges of an admin page up to date. It only listens; without it the page is as right as when it was loaded.

const SILENT = 6_000;
const LONGEST_WAIT = 15_000;
const LOGIN_NEEDED = 4401;
const FORBIDDEN = 4403;

const badges = new Map(); // "kind pk field" -> spans
const shown = new Map(); // kind -> primary keys
for (const span of document.querySelectorAll("[data-live]")) {
  const { live, pk, field } = span.dataset;
  const key = `${live} ${pk} ${field}`;
  badges.set(key, [...(badges.get(key) ?? []), span]);
  shown.set(live, (shown.get(live) ?? new Set()).add(pk));
}
const note = document.querySelector("#cockpit-note");
const waiting = new Map();
let socket = null;
let failures = 0;
let heardAt = 0;

function address() {
  const query = new URLSearchParams([...shown].map(([kind, pks]) => [kind, [...pks].join(",")]));
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/admin/?${query}`;
}

function open() {
  socket = new WebSocket(address());
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = (event) => closed(event.code);
}

function take(message) {
  failures = 0;
  heardAt = Date.now();
  say("Live");
  if (!waiting.size && message.rows.length) requestAnimationFrame(paint);
  for (const [kind, pk, field, text, tone] of message.rows) waiting.set(`${kind} ${pk} ${field}`, [text, tone]);
}

function paint() {
  for (const [key, [text, tone]] of waiting) {
    for (const span of badges.get(key) ?? []) {
      span.textContent = text;
      span.dataset.tone = tone;
    }
  }
  waiting.clear();
}

function closed(code) {
  socket = null;
  if (code === LOGIN_NEEDED) return say("Signed out: log in again", true);
  if (code === FORBIDDEN) return say("Not live: for the staff only", true);
  say("Not live: connecting", true);
  // Full jitter: after a restart of the server not every browser knocks at once.
  const longest = Math.min(LONGEST_WAIT, 500 * 2 ** failures++);
  if (!document.hidden) setTimeout(reopen, 100 + Math.random() * longest);
}

function reopen() {
  if (!socket && !document.hidden) open();
}

function say(words, isDown = false) {
  document.documentElement.dataset.cockpit = isDown ? "down" : "live";
  if (note && note.textContent !== words) note.textContent = words;
}

function watch() {
  if (socket && heardAt && Date.now() - heardAt > SILENT) {
    say("Not live: no answer", true);
    heardAt = Date.now();
    socket.close();
  }
}

if (badges.size) {
  open();
  setInterval(watch, 1_000);
  document.addEventListener("visibilitychange", () => (document.hidden ? socket?.close() : reopen()));
}
