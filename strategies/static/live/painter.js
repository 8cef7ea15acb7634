// Paints at most once a frame, of long lists only the rows on screen, only cells whose text changed.

export class Painter {
  constructor() {
    this.dirty = new Map(); // element -> function that fills it
    this.visible = new WeakSet();
    this.requested = false;
    this.observer = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: "200px" });
  }

  watch(element) {
    this.observer.observe(element);
  }

  forget(element) {
    this.observer.unobserve(element);
    this.dirty.delete(element);
  }

  mark(element, fill) {
    this.dirty.set(element, fill);
    this.request();
  }

  request() {
    if (this.requested) return;
    this.requested = true;
    requestAnimationFrame(() => this.paint());
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.visible.add(target);
      else this.visible.delete(target);
    }
    if (this.dirty.size) this.request();
  }

  paint() {
    this.requested = false;
    for (const [element, fill] of this.dirty) {
      if (element.parentElement?.dataset.many === "true" && !this.visible.has(element)) continue; // until it scrolls into view
      this.dirty.delete(element);
      fill();
    }
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
