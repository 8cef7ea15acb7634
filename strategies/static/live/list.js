// A keyed list of rows: the server drew the first ones, a <template> gives the others.
// Long lists are kept in blocks; what is out of sight of them is neither laid out nor painted.

const MANY = 60;
const IN_A_BLOCK = 25;

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
    element.fill = () => this.rows.has(String(id)) && this.fill(element, this.rows.get(String(id)));
  }

  replace(rows) {
    const kept = new Set(rows.map((row) => String(row.id)));
    for (const id of [...this.elements.keys()]) if (!kept.has(id)) this.remove(id);
    rows.forEach((row) => this.upsert(row));
    const places = this.places(rows.length);
    rows.forEach((row, at) => this.place(this.elements.get(String(row.id)), ...places(at)));
    for (const block of [...this.body.querySelectorAll(".block:empty")]) block.remove();
    this.showMatching();
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
    this.body[first ? "prepend" : "append"](element); // into its block with the next snapshot
    this.adopt(id, element);
    this.showEmpty();
  }

  /** Returns a function that tells the parent and the place in it of the row at a position. */
  places(count) {
    if (count <= MANY) return (at) => [this.body, at];
    const blocks = [...this.body.querySelectorAll(":scope > .block")];
    while (blocks.length * IN_A_BLOCK < count) blocks.push(this.addBlock());
    return (at) => [blocks[Math.floor(at / IN_A_BLOCK)], at % IN_A_BLOCK];
  }

  place(element, parent, at) {
    if (parent.children[at] === element) return;
    this.painter.forget(element);
    parent.insertBefore(element, parent.children[at] ?? null);
    this.painter.mark(element);
  }

  addBlock() {
    const block = document.createElement("div");
    block.className = "block";
    return this.body.appendChild(block);
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
    this.painter.mark(this.elements.get(id));
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
    for (const block of this.body.querySelectorAll(":scope > .block")) { // an empty one would keep its height
      block.hidden = [...block.children].every((element) => element.hidden);
    }
    return count;
  }

  showEmpty() {
    this.empty.hidden = this.elements.size > 0;
  }
}
