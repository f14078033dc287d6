// Elements and figures. Text is only ever set as text: names of campaigns come from outside.

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// Puts new content in place, and the focus back where it was.
export function replace(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  parent.replaceChildren(...children.flat().filter((child) => child));
  if (key) [...parent.querySelectorAll("[data-key]")].find((e) => e.dataset.key === key)?.focus();
}

const whole = new Intl.NumberFormat("en");

export const number = (value) => whole.format(value);

export function percent(rate) {
  if (rate === null) return "–";
  if (rate > 0 && rate < 0.001) return "<0.1 %";
  return `${(rate * 100).toFixed(1)} %`;
}

export const clock = (time) => new Date(time).toISOString().slice(11, 16);

export function since(time, now) {
  const seconds = Math.max(0, Math.round((Date.parse(now) - Date.parse(time)) / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const OTHER = "__other__";

// A name with what cannot be seen written out. <bdi> keeps its direction to itself.
export function name(id) {
  if (id === OTHER) return el("bdi", { title: "what is past the bounds of `limits`, counted together" }, id);
  const written = id.replace(/\p{C}|^\s|\s$/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return el("bdi", {}, written);
}

export const campaignLink = (id) => `#campaign=${encodeURIComponent(id)}`;
