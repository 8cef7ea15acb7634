// How a person wants pages to look. Cookies, so that the server draws the first paint right already.

const YEAR = 365 * 86_400;
const dialog = document.querySelector("#settings");
const opener = document.querySelector("#open-settings");

function choose(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax`;
  document.documentElement.dataset[name] = value;
}

if (dialog) {
  for (const name of ["theme", "colours"]) {
    const chosen = document.documentElement.dataset[name];
    for (const radio of dialog.querySelectorAll(`[name=${name}]`)) radio.checked = radio.value === chosen;
  }
  dialog.addEventListener("change", ({ target }) => choose(target.name, target.value));
  opener.hidden = false;
  opener.addEventListener("click", () => dialog.showModal());
}
