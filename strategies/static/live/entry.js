// The instrument field of a form offers what the user's brokers list. Without this it takes what is typed.

import { Search } from "./search.js";

const input = document.querySelector("[data-instrument]");
const list = document.createElement("ul");
Object.assign(list, { id: "offers", className: "offers", hidden: true });
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "Instruments found");
const status = document.createElement("p");
Object.assign(status, { id: "offers-status", className: "unseen" });
status.setAttribute("role", "status");

const box = document.createElement("div");
box.className = "offered";
input.before(box);
box.append(input, list, status);
for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", "offers"], ["aria-expanded", "false"]]) {
  input.setAttribute(name, value);
}
new Search(input, list, (symbol) => (input.value = symbol));
