// Prices stay text: they are grouped and compared as whole numbers, never as floats.

const PLACES = 7; // as fine as the finest feed

export function toUnits(text) {
  const [whole, fraction = ""] = text.split(".");
  return BigInt(whole + fraction.padEnd(PLACES, "0"));
}

function toText(units, decimals) {
  const digits = String(units < 0n ? -units : units).padStart(PLACES + 1, "0");
  const fraction = digits.slice(-PLACES).replace(/0+$/, "").padEnd(decimals, "0");
  return `${units < 0n ? "−" : ""}${digits.slice(0, -PLACES)}${fraction && "."}${fraction}`;
}

/** 1234567.5 -> 12,34,567.50: lakh and crore. */
export function price(text, decimals = 2) {
  if (text === null || text === undefined || text === "") return "–";
  const [whole, fraction] = toText(toUnits(text), decimals).split(".");
  return `${grouped(whole)}${fraction ? "." + fraction : ""}`;
}

export function grouped(whole) {
  return String(whole).replace(/(\d)(?=(\d\d)+\d(?!\d))/g, "$1,");
}

/** How far the price may still go, and whether it is there: points as text, percent as a number, and the rupees that are lost on the way
    (null where a quantity does not count shares); null without both prices. */
export function distance(row, ltp) {
  if (!ltp || !row.stop || row.position === "NONE") return null;
  const now = toUnits(ltp);
  const room = row.position === "SOLD" ? toUnits(row.stop) - now : now - toUnits(row.stop);
  if (now <= 0n) return null;
  const rupees = row.units === null ? null : wholeRupees(room * BigInt(row.units));
  const passed = room <= 0n;
  return { passed, points: price(plain(room), row.decimals), percent: Number((room * 10000n) / now) / 100, rupees };
}

function wholeRupees(units) {
  const scale = 10n ** BigInt(PLACES);
  return units < 0n ? "0" : grouped((units + scale / 2n) / scale);
}

function plain(units) {
  return toText(units, 2).replace("−", "-");
}

export function seconds(ms) {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}

export function age(ms) {
  if (ms < 1000) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s ago`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ago`;
  return `${Math.floor(ms / 86_400_000)} d ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Kolkata", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", day: "numeric", month: "short" });

export function clock(ms) {
  return CLOCK.format(ms);
}

/** The time, and the day too when it was not today. */
export function moment(ms, now) {
  return DAY.format(ms) === DAY.format(now) ? clock(ms) : `${DAY.format(ms)}, ${clock(ms)}`;
}
