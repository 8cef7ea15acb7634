// Today's prices of one instrument with its stops, entries and exits. Loaded when a chart is first asked for.

import { clock, price } from "./format.js";
import * as lib from "../vendor/lightweight-charts-5.2.1/lightweight-charts.js";

const NEAR = 0.1; // a line further away than this share of the price would flatten the day
const DAY_MS = 86_400_000;
const IST_MS = 19_800_000;

export class Chart {
  constructor(desk) {
    this.desk = desk;
    this.section = document.querySelector("#chart");
    this.canvas = this.section.querySelector("#chart-canvas");
    this.title = this.section.querySelector("#chart-title");
    this.note = this.section.querySelector("#chart-note");
    this.symbol = null;
    this.rows = this.exits = [];
    this.lines = [];
    this.section.querySelector("#chart-close").addEventListener("click", () => this.close());
    new MutationObserver(() => this.colour()).observe(document.documentElement, { attributes: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.colour());
  }

  /** Shows the instrument of a row of the strategies or of the watch list. */
  async show(row) {
    this.section.hidden = false;
    if (row.symbol === this.symbol) return;
    this.symbol = row.symbol;
    this.decimals = row.decimals;
    this.title.textContent = row.symbol;
    this.note.textContent = "Loading today's prices";
    this.build();
    await this.load(row.symbol);
  }

  close() {
    this.section.hidden = true;
    this.symbol = null;
    this.chart?.remove();
    this.chart = null;
  }

  /** Takes a price as it comes. */
  take(symbol, text, at) {
    if (symbol !== this.symbol || !this.series) return;
    this.last = Math.max(this.last, Math.floor(at / 1000)); // a chart's time never goes back
    this.series.update({ time: this.last, value: Number(text) });
    if (this.last === Math.floor(at / 1000)) this.describe(text);
  }

  /** Takes all strategies and exits of the page: of this instrument they are drawn. */
  mark(rows, exits) {
    this.rows = rows;
    this.exits = exits;
    if (this.series) this.draw();
  }

  // --- inside -------------------------------------------------------------------------

  build() {
    this.chart?.remove();
    const minMove = 10 ** -this.decimals;
    const formatter = (value) => price(value.toFixed(this.decimals), this.decimals);
    this.chart = lib.createChart(this.canvas, {
      autoSize: true,
      layout: { attributionLogo: false },
      localization: { timeFormatter: (time) => `${clock(time * 1000)} IST`, priceFormatter: formatter },
      timeScale: { timeVisible: true, secondsVisible: true, tickMarkFormatter: mark },
    });
    this.series = this.chart.addSeries(lib.LineSeries, {
      lineWidth: 2,
      priceFormat: { type: "custom", minMove, formatter },
      autoscaleInfoProvider: (original) => this.withLines(original()),
    });
    this.markers = lib.createSeriesMarkers(this.series, []);
    this.last = 0;
    this.lines = [];
    this.colour();
  }

  async load(symbol) {
    let points = [];
    try {
      const reply = await fetch(`/chart/?symbol=${encodeURIComponent(symbol)}`, { headers: { Accept: "application/json" } });
      points = (await reply.json()).points;
    } catch {
      // what comes from now on is drawn all the same
    }
    if (symbol !== this.symbol) return; // another one was chosen meanwhile
    const data = points.map(([time, text]) => ({ time, value: Number(text) }));
    this.last = data.at(-1)?.time ?? 0;
    this.series.setData(data);
    const known = this.desk.prices.get(symbol);
    if (known && known.at / 1000 >= this.last) this.take(symbol, known.text, known.at);
    if (known) this.describe(known.text);
    this.note.textContent = known || data.length ? "Today, IST" : "No price today yet";
    this.draw();
    this.chart.timeScale().fitContent();
  }

  describe(text) {
    const told = this.rows.filter((row) => row.symbol === this.symbol && row.stop);
    const stops = told.map((row) => `, stop of ${row.title} ${price(row.stop, row.decimals)}`).join("");
    this.canvas.setAttribute("aria-label", `Chart of ${this.symbol} today, last ${price(text, this.decimals)}${stops}`);
  }

  draw() {
    for (const line of this.lines) this.series.removePriceLine(line.line);
    const mine = this.rows.filter((row) => row.symbol === this.symbol && row.position !== "NONE" && row.status !== "closed");
    const several = mine.length > 1;
    const line = (row, key, name) => row[key] && this.line(Number(row[key]), key, several ? `${name} ${row.title}` : name);
    this.lines = mine.flatMap((row) => [line(row, "stop", "stop"), line(row, "entry", "entry")]).filter(Boolean);
    const since = Math.floor((this.desk.now() + IST_MS) / DAY_MS) * DAY_MS - IST_MS;
    const exits = this.exits.filter((row) => row.symbol === this.symbol && row.at >= since);
    this.markers.setMarkers(exits.map((row) => this.marker(row)).sort((one, other) => one.time - other.time));
  }

  line(at, key, title) {
    const color = colourOf(key === "stop" ? "--bad" : "--soft");
    const lineStyle = key === "stop" ? lib.LineStyle.Dashed : lib.LineStyle.Dotted;
    return { at, line: this.series.createPriceLine({ price: at, color, lineWidth: 1, lineStyle, axisLabelVisible: true, title }) };
  }

  marker(row) {
    const text = row.trigger ? `exit at ${price(row.trigger, row.decimals)}` : "exit";
    return { time: Math.floor(row.at / 1000), position: "aboveBar", shape: "arrowDown", color: colourOf("--bad"), text };
  }

  /** Lines near the price belong into the picture. */
  withLines(info) {
    if (!info?.priceRange) return info;
    let { minValue, maxValue } = info.priceRange;
    for (const { at } of this.lines) {
      if (Math.abs(at - minValue) > NEAR * minValue && Math.abs(at - maxValue) > NEAR * maxValue) continue;
      minValue = Math.min(minValue, at);
      maxValue = Math.max(maxValue, at);
    }
    return { ...info, priceRange: { minValue, maxValue } };
  }

  colour() {
    if (!this.chart) return;
    const [ink, soft, line, surface] = ["--ink", "--soft", "--line", "--surface"].map(colourOf);
    this.chart.applyOptions({
      layout: { background: { color: surface }, textColor: soft },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
    this.series.applyOptions({ color: ink });
    this.draw();
  }
}

/** A time on the axis: with its seconds only where these tell marks apart. */
function mark(time, kind) {
  const text = clock(time * 1000);
  return kind === lib.TickMarkType.TimeWithSeconds ? text : text.slice(0, 5);
}

/** What a variable of the style sheet is just now: a canvas knows no variables. */
function colourOf(name) {
  const probe = document.querySelector("#chart-canvas");
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}
