// Desktop notifications: asked for by a click, one for each alert however many pages are open.

export class Desktop {
  constructor(button) {
    this.button = button;
    this.shown = new Map(); // alert id -> Notification
    button.addEventListener("click", async () => {
      await Notification.requestPermission();
      this.offer();
    });
    this.offer();
  }

  /** The button is there only while a click can change something. */
  offer() {
    this.button.hidden = !("Notification" in window) || Notification.permission !== "default";
  }

  show(alert) {
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    const heading = [alert.mode, alert.name || alert.symbol || "Tickguard"].filter(Boolean).join(" · ");
    const tag = alert.id ? `alert-${alert.id}` : "alarm";
    const urgent = alert.urgency !== "info";
    const note = new Notification(heading, { body: alert.text, tag, renotify: alert.repeat > 0, requireInteraction: urgent });
    note.onclick = () => window.focus();
    if (alert.id) this.shown.set(alert.id, note);
  }

  /** Takes notifications off the screen whose alert no longer waits. */
  keep(waiting) {
    for (const [id, note] of this.shown) {
      if (waiting.has(id)) continue;
      note.close();
      this.shown.delete(id);
    }
  }
}
