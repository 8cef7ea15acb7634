// A large snapshot comes in parts, one directly after the other. Nobody is shown half of it.

export class Parts {
  constructor() {
    this.half = null;
  }

  /** Returns the message, or the snapshot that it completes; null while some of it is still to come or was lost. */
  take(message) {
    const known = message.type === "part" ? this.half && joined(this.half, message) : message;
    this.half = known?.more ? known : null; // anything else in between: the server has begun anew
    return this.half ? null : known;
  }

  /** Something was lost: what is still to come belongs to nothing. */
  forget() {
    this.half = null;
  }
}

function joined(half, part) {
  const lists = Object.entries(part).filter(([, value]) => Array.isArray(value));
  return { ...half, ...Object.fromEntries(lists.map(([name, rows]) => [name, half[name].concat(rows)])), more: part.more };
}
