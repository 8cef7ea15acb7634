// Shows the rows in which every typed word is found.

import { setText } from "./painter.js";

export class Filter {
  constructor(input, status, lists) {
    this.input = input;
    this.status = status;
    this.lists = lists;
    this.words = [];
    for (const list of lists) list.matches = (row) => this.matches(row);
    input.addEventListener("input", () => this.apply());
  }

  matches(row) {
    if (!this.words.length) return true;
    const text = [row.title, row.symbol, row.account, row.state].join(" ").toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  apply() {
    this.words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = this.lists.map((list) => list.showMatching());
    const shown = counts.reduce((sum, count) => sum + count, 0);
    const all = this.lists.reduce((sum, list) => sum + list.rows.size, 0);
    setText(this.status, this.words.length ? `${shown} of ${all} shown` : "");
  }
}
