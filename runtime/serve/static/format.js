// Numbers, times and words as the page writes them.

export const NONE = "–";

/** A share in [0, 1] as a percentage. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)}\u00a0%`;
}

/** Milliseconds, in seconds from ten of them on. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** Frames per second. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}/s`;
}

/** A count, shortened from ten thousand on. */
export function count(value) {
  if (value === null || value === undefined) return NONE;
  for (const [least, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= least) return `${(value / (unit === "k" ? 1e3 : least)).toFixed(1)} ${unit}`;
  }
  return String(value);
}

/** Bytes in MB or GB. */
export function bytes(value) {
  if (!value) return NONE;
  return value < 1e9 ? `${Math.round(value / 1e6)} MB` : `${(value / 1e9).toFixed(2)} GB`;
}

/** Seconds as days, hours and minutes. */
export function span(seconds) {
  const minutes = Math.floor((seconds || 0) / 60);
  if (minutes < 1) return `${Math.floor(seconds || 0)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A time (ISO, or seconds since 1970) as the clock on the wall; with the date where it is another day. */
export function clock(time) {
  const then = new Date(typeof time === "number" ? time * 1000 : (time ?? NaN));
  if (!(then.getFullYear() > 2000)) return NONE; // no time, or one that counts from elsewhere
  const two = (value) => String(value).padStart(2, "0");
  const digits = [then.getHours(), then.getMinutes(), then.getSeconds()].map(two).join(":");
  const today = then.toDateString() === new Date().toDateString();
  return today ? digits : `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${digits}`;
}

/** `no_majority` as `no majority`. */
export function words(name) {
  return String(name ?? "").replaceAll("_", " ");
}

/** A label that may wrap after its underscores. */
export function breakable(label) {
  return String(label).replaceAll("_", "_\u200b");
}

/** How each state of a camera looks: its sign and how grave it is. */
export const STATES = {
  live: ["●", "good"],
  connecting: ["○", "care"],
  blank: ["□", "care"],
  frozen: ["‖", "care"],
  stalled: ["…", "care"],
  lost: ["×", "bad"],
  failed: ["!", "bad"],
  ended: ["■", "quiet"],
};

/** Makes an element; texts are never read as markup. */
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Sets a text only where it changed, so that selections and screen readers are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
