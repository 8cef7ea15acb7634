// Two short tones for an alert. Browsers want a click first, so a button turns them on.

const KEPT = "sound";
const TONES = { urgent: [880, 660, 880, 660], info: [660, 880] };
const SECONDS = 0.16;

export class Sound {
  constructor(button) {
    this.button = button;
    this.on = localStorage.getItem(KEPT) === "on";
    button.addEventListener("click", () => this.turn(!this.on));
    // What was on before stays on; after a reload the first touch of the page lets it be heard.
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => this.on && this.wake(), { once: true });
    this.show();
  }

  turn(on) {
    this.on = on;
    localStorage.setItem(KEPT, on ? "on" : "off");
    this.show();
    if (on) this.play("info"); // so that one knows how it sounds, and that it is heard
  }

  show() {
    this.button.textContent = this.on ? "Sound is on" : "Turn on sound";
    this.button.setAttribute("aria-pressed", String(this.on));
  }

  wake() {
    this.audio ??= new AudioContext();
    if (this.audio.state === "suspended") this.audio.resume();
  }

  /** `tag`: the same in every tab, of which one is enough to be heard. */
  play(kind, tag = "") {
    if (!this.on) return;
    if (!tag || !navigator.locks) return this.beep(kind);
    navigator.locks.request(`sound-${tag}`, { ifAvailable: true }, async (lock) => {
      if (!lock) return;
      this.beep(kind);
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    });
  }

  beep(kind) {
    this.wake();
    TONES[kind].forEach((hertz, at) => this.tone(hertz, this.audio.currentTime + at * SECONDS));
  }

  tone(hertz, from) {
    const tone = this.audio.createOscillator();
    const volume = this.audio.createGain();
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0.2, from);
    volume.gain.exponentialRampToValueAtTime(0.001, from + SECONDS);
    tone.connect(volume).connect(this.audio.destination);
    tone.start(from);
    tone.stop(from + SECONDS);
  }
}
