// The protection score: counted by the server; here it gets the oldest price, and is doubted while nothing is heard.

import { age, seconds } from "./format.js";
import { setData, setText } from "./painter.js";

export class Score {
  constructor(desk) {
    this.desk = desk;
    this.place = document.querySelector("#score");
    this.told = null;
  }

  /** Takes what the server counted. */
  take(score) {
    this.told = score;
    this.fact("no_order", score.no_order);
    this.feeds(score.feeds);
    this.missing(score);
    this.judge();
  }

  /** Called whenever the connection may have changed: what is not heard is not confirmed. */
  judge() {
    if (!this.told) return;
    const doubted = !this.desk.alive && this.told.tone === "good";
    setData(this.place, "tone", doubted ? "bad" : this.told.tone);
    setText(this.find("text"), doubted ? `Not confirmed now. Last heard: ${this.told.text}` : this.told.text);
  }

  /** Takes the rows of armed strategies, once a second. */
  age(armed) {
    if (this.told) this.fact("oldest", armed.length ? this.oldest(armed.filter((row) => row.open)) : "");
  }

  oldest(rows) {
    if (!rows.length) return "market closed";
    const unknown = rows.find((row) => !this.desk.prices.has(row.symbol));
    if (unknown) return `no price yet of ${unknown.symbol}`;
    const found = rows.map((row) => [this.desk.now() - this.desk.prices.get(row.symbol).at, row.symbol]);
    const [ms, symbol] = found.reduce((worst, one) => (one[0] > worst[0] ? one : worst));
    return ms < 10_000 ? `oldest price ${seconds(ms)}` : `oldest price ${age(ms)}: ${symbol}`;
  }

  feeds(feeds) {
    for (const old of this.place.querySelectorAll("[data-feed]")) old.remove();
    const list = this.place.querySelector(".score-facts");
    for (const feed of feeds) {
      const line = list.appendChild(document.createElement("li"));
      line.textContent = feed.text;
      line.dataset.feed = "";
      line.dataset.ok = String(feed.ok);
    }
  }

  missing(score) {
    const list = this.find("missing");
    list.hidden = !score.missing.length;
    list.replaceChildren(...score.missing.map(missingLine));
    if (score.more) list.appendChild(document.createElement("li")).textContent = score.more;
  }

  fact(name, text) {
    setText(this.find(name), text);
    this.find(name).hidden = !text;
  }

  find(name) {
    return this.place.querySelector(`[data-score="${name}"]`);
  }
}

function missingLine(row) {
  const line = document.createElement("li");
  const link = document.createElement("a");
  link.href = `/strategies/${row.strategy}/`;
  link.textContent = row.title;
  line.append(link, `: ${row.reason}`);
  return line;
}
