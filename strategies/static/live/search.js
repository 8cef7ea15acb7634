// Instruments offered as one types: a combobox whose list is asked of the server.

const PAUSE = 90; // ms after the last key

export class Search {
  /** `input` has role=combobox, `list` role=listbox; `onChoose(symbol)` takes what was chosen. */
  constructor(input, list, onChoose) {
    this.input = input;
    this.list = list;
    this.onChoose = onChoose;
    this.active = -1;
    this.status = document.querySelector("#offers-status");
    input.addEventListener("input", () => this.later());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", (event) => this.choose(event.target.closest("[role=option]")));
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), PAUSE);
  }

  async ask() {
    const typed = this.input.value.split(",").pop().trim();
    this.asking?.abort();
    this.asking = new AbortController();
    if (!typed) return this.close();
    try {
      const reply = await fetch(`/instruments/?q=${encodeURIComponent(typed)}`, { signal: this.asking.signal });
      if (document.activeElement === this.input) this.offer((await reply.json()).instruments);
    } catch {
      this.close(); // typed over, or not reached: the field works without its list
    }
  }

  offer(found) {
    this.list.replaceChildren(...found.map(option));
    this.mark(found.length ? 0 : -1);
    this.show(found.length > 0);
    this.status.textContent = found.length ? `${found.length} found` : "Nothing like that in your brokers' lists";
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const open = !this.list.hidden;
    if (step && open) this.mark((this.active + step + this.list.children.length) % this.list.children.length);
    else if (step) this.ask();
    else if (event.key === "Enter" && open) this.choose(this.list.children[this.active]);
    else if (event.key === "Escape" && open) this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  mark(at) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = at;
    const option = this.list.children[at];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  choose(option) {
    if (!option) return;
    this.close();
    this.onChoose(option.dataset.symbol);
  }

  close() {
    clearTimeout(this.timer);
    this.show(false);
    this.mark(-1);
    this.status.textContent = "";
  }

  show(open) {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
  }
}

function option({ symbol, name, until }, at) {
  const line = document.createElement("li");
  line.id = `offer-${at}`;
  line.setAttribute("role", "option");
  line.dataset.symbol = symbol;
  const what = document.createElement("span");
  what.className = "main-text";
  what.textContent = symbol;
  const more = document.createElement("span");
  more.className = "small";
  more.textContent = [name, until].filter(Boolean).join(" · ");
  line.append(what, more);
  return line;
}
