// Keys for people who do not reach for the mouse. None of them sends an order.

const ROWS = "[data-list=strategies] [data-id]:not([hidden]), [data-list=watch] [data-id]:not([hidden])";
const OWN_KEYS = "input:not([type=search]), textarea, select, [contenteditable]";

export class Keyboard {
  /** `onSelect(row)`: another row, or null; `onOpen(row)`: Enter on it; `onLeave()`: Esc, nothing else to leave. */
  constructor({ filter, help, onSelect, onOpen, onLeave }) {
    Object.assign(this, { filter, help, onSelect, onOpen, onLeave });
    this.selected = null;
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("click", (event) => this.click(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest(OWN_KEYS)) return;
    if (event.target === this.filter && event.key !== "Escape" && event.key !== "Enter") return;
    if (this.obey(event.key, event.target)) event.preventDefault();
  }

  /** Returns whether the key meant something here. */
  obey(key, target) {
    if (key === "/") this.filter.focus();
    else if (key === "?") this.help.showModal();
    else if (key === "j" || key === "ArrowDown") return this.step(1, key, target);
    else if (key === "k" || key === "ArrowUp") return this.step(-1, key, target);
    else if (key === "Enter") return this.enter(target);
    else if (key === "Escape") this.leave(target);
    else return false;
    return true;
  }

  step(by, key, target) {
    if (key.startsWith("Arrow") && target !== this.selected) return false; // they scroll the page
    const rows = [...document.querySelectorAll(ROWS)];
    if (!rows.length) return false;
    const at = rows.indexOf(this.selected);
    this.select(rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))]);
    this.selected.focus({ preventScroll: true });
    this.selected.scrollIntoView({ block: "nearest" });
    return true;
  }

  enter(target) {
    if (target === this.filter) return this.step(1, "j", target);
    if (!this.selected || target !== this.selected) return false; // a link or a button has the focus
    this.onOpen(this.selected);
    return true;
  }

  leave(target) {
    if (target === this.filter || this.filter.value) {
      this.filter.value = "";
      this.filter.dispatchEvent(new Event("input"));
      this.filter.blur();
    } else {
      this.select(null);
      document.activeElement?.blur();
      this.onLeave();
    }
  }

  click(event) {
    const row = event.target.closest(ROWS);
    if (!row || event.target.closest("a, button, input")) return;
    this.select(row);
    this.onOpen(row);
  }

  select(row) {
    if (row === this.selected) return;
    this.selected?.removeAttribute("data-selected");
    this.selected = row;
    row?.setAttribute("data-selected", "");
    row?.setAttribute("tabindex", "-1");
    this.onSelect(row);
  }
}
