// Buttons are ordinary POST forms with a CSRF token; here they answer in place.

export function takeOver(onAnswer) {
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-act]");
    if (!form) return;
    event.preventDefault();
    if (form.dataset.ask && !(await confirmed(form))) return;
    await send(form, onAnswer);
  });
}

async function send(form, onAnswer) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    onAnswer(form, await post(form));
  } finally {
    button.disabled = false;
  }
}

async function post(form) {
  const body = new URLSearchParams(new FormData(form));
  if (form.dataset.ask) body.set("confirmed", "yes");
  try {
    const reply = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (reply.headers.get("content-type")?.startsWith("application/json")) return await reply.json();
    return { ok: false, text: reply.status === 403 ? "Your login is over: reload the page." : `The server answered ${reply.status}.` };
  } catch {
    return { ok: false, text: "The server was not reached. Whether it took effect shows here when the page is live again." };
  }
}

function confirmed(form) {
  const dialog = document.querySelector("#ask");
  const name = form.closest("[data-id]").querySelector("[data-cell=name]").textContent;
  dialog.querySelector("#ask-title").textContent = form.dataset.title.replace("…", name);
  dialog.querySelector("[value=yes]").textContent = form.dataset.yes;
  dialog.querySelector("[data-ask-text]").textContent = form.dataset.ask;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
