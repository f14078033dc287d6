// Figures, times and names as people read them. A number and its unit are not parted by a line's end.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en");
export const number = (value) => whole.format(value);

export function percent(rate) {
  if (rate === null || rate === undefined) return "–";
  if (rate > 0 && rate < 0.001) return "<0.1\u00a0%";
  if (rate < 1 && rate > 0.999) return ">99.9\u00a0%";
  return `${(rate * 100).toFixed(rate < 0.0995 ? 1 : 0)}\u00a0%`;
}

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });
const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const second = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const utc = (time) => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;

// A time in the reader's zone, with the day if it is another one; UTC when it is pointed at.
export function when(time, { seconds = false } = {}) {
  const at = new Date(time);
  const text = (seconds ? second : hour).format(at);
  const isToday = day.format(at) === day.format(new Date());
  return h("time", { datetime: at.toISOString(), title: utc(time) }, isToday ? text : `${day.format(at)} ${text}`);
}

export const clock = (time) => hour.format(new Date(time));
export const date = (time) => day.format(new Date(time)).slice(5);
export { utc };

export function lasting(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}\u00a0h`;
  return `${Math.round(seconds / 86_400)}\u00a0d`;
}

export const OTHER = "__other__";

// A name with what cannot be seen written out. <bdi> keeps its direction to itself.
export function name(id) {
  const written = String(id).replace(/\p{C}|^\s|\s$/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  const told = id === OTHER ? "what is past the bounds of `limits`, counted together" : id;
  return h("bdi", { title: told }, written);
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
