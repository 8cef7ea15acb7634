// Paints at most once a frame, of long lists only the blocks on screen, only cells whose text changed.

export class Painter {
  constructor() {
    this.dirty = new Set(); // elements, each with a `fill` of its own
    this.requested = false;
    // The browser tells when a block of a long list comes into view; see list.js.
    document.addEventListener("contentvisibilityautostatechange", (event) => this.seen(event.target, event.skipped), true);
  }

  mark(element) {
    const block = element.parentElement;
    if (block?.waiting) block.waiting.add(element);
    else this.dirty.add(element);
    if (this.dirty.size) this.request();
  }

  forget(element) {
    this.dirty.delete(element);
    element.parentElement?.waiting?.delete(element);
  }

  /** Rows of a block out of sight wait in it. */
  seen(block, skipped) {
    if (skipped) {
      block.waiting ??= new Set();
      return;
    }
    for (const element of block.waiting ?? []) this.dirty.add(element);
    block.waiting = null;
    if (this.dirty.size) this.request();
  }

  request() {
    if (this.requested) return;
    this.requested = true;
    requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.requested = false;
    const elements = [...this.dirty];
    this.dirty.clear();
    for (const element of elements) element.fill();
  }
}

export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

export function setData(element, name, value) {
  if (element && element.dataset[name] !== value) element.dataset[name] = value;
}

/** The cells of a row by name, looked up once. */
export function cells(element) {
  element.cells ??= Object.fromEntries([...element.querySelectorAll("[data-cell]")].map((cell) => [cell.dataset.cell, cell]));
  return element.cells;
}
