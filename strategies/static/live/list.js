// A keyed list of rows: the server drew the first ones, a <template> gives the others.

const MANY = 60; // from here on, rows out of sight are neither laid out nor painted

export class List {
  constructor(name, painter, fill) {
    this.body = document.querySelector(`[data-list="${name}"]`);
    this.template = document.querySelector(`template[data-row="${name}"]`);
    this.empty = document.querySelector(`[data-empty="${name}"]`);
    this.painter = painter;
    this.fill = fill;
    this.matches = () => true; // what a filter lets through
    this.rows = new Map(); // id -> row as last told
    this.elements = new Map();
    for (const element of this.body.querySelectorAll("[data-id]")) this.adopt(element.dataset.id, element);
  }

  adopt(id, element) {
    this.elements.set(String(id), element);
    this.painter.watch(element);
  }

  replace(rows) {
    const kept = new Set(rows.map((row) => String(row.id)));
    for (const id of [...this.elements.keys()]) if (!kept.has(id)) this.remove(id);
    rows.forEach((row) => this.upsert(row, { first: false }));
    rows.forEach((row, at) => this.place(this.elements.get(String(row.id)), at));
    this.showEmpty();
  }

  /** Takes news of a row; what it does not mention stays. */
  upsert(row, { first = false } = {}) {
    const id = String(row.id);
    this.rows.set(id, { ...this.rows.get(id), ...row });
    if (!this.elements.has(id)) this.add(id, first);
    this.elements.get(id).hidden = !this.matches(this.rows.get(id));
    this.paint(id);
  }

  add(id, first) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    element.dataset.id = id;
    this.body[first ? "prepend" : "append"](element);
    this.adopt(id, element);
    this.showEmpty();
  }

  place(element, at) {
    if (this.body.children[at] !== element) this.body.insertBefore(element, this.body.children[at] ?? null);
  }

  remove(id) {
    const element = this.elements.get(id);
    this.painter.forget(element);
    element.remove();
    this.elements.delete(id);
    this.rows.delete(id);
    this.showEmpty();
  }

  paint(id) {
    const element = this.elements.get(id);
    this.painter.mark(element, () => this.fill(element, this.rows.get(id)));
  }

  paintAll() {
    for (const id of this.rows.keys()) this.paint(id);
  }

  /** Hides what does not match and returns how many rows do. */
  showMatching() {
    let count = 0;
    for (const [id, row] of this.rows) {
      const shown = this.matches(row);
      this.elements.get(id).hidden = !shown;
      count += shown;
    }
    return count;
  }

  showEmpty() {
    this.body.dataset.many = String(this.elements.size > MANY);
    this.empty.hidden = this.elements.size > 0;
  }
}
