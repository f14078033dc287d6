// Plots as SVG over a true time axis. A point is {start, attempts, failure, throttled}: time in ms,
// rates or null. A level is {start, usual, limit, fires}: what a rule compares the rate with.

import { h } from "./dom.js";
import { clock, date, number, percent, utc } from "./format.js";

const HEIGHT = 180;
const LEFT = 52;
const RIGHT = 6;
const BOTTOM = 22;
const TOP = 8;

export function points(windows) {
  return windows.map((each) => ({
    start: Date.parse(each.start),
    attempts: each.attempts,
    failure: each.rates.failure,
    throttled: each.rates.throttled,
  }));
}

export function levels(baseline) {
  return baseline.map((each) => ({
    start: Date.parse(each.start),
    usual: each.usual_rate,
    limit: each.limit_rate,
    fires: each.firing_rate,
  }));
}

// The larger of both rates decides the scale, so that a spike is seen from afar.
export function sparkline(shown, span) {
  const [width, height] = [130, 26];
  const top = Math.max(0.05, ...shown.map((p) => Math.max(p.failure ?? 0, p.throttled ?? 0)));
  const x = (time) => 2 + ((time - span.from) / Math.max(1, span.to - span.step - span.from)) * (width - 4);
  const y = (rate) => height - 2 - (rate / top) * (height - 4);
  return h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    line(shown, "throttled", x, y, span.step, "line spark s-throttle"),
    line(shown, "failure", x, y, span.step, "line spark s-fail"));
}

// A line with gaps where there are no windows; a window between two gaps is a dot.
function line(shown, key, x, y, step, style) {
  let path = "";
  let before = null;
  const alone = [];
  shown.forEach((point, at) => {
    const value = point[key];
    if (value === null) { before = null; return; }
    const joined = before !== null && point.start - before <= step;
    path += `${joined ? "L" : "M"}${x(point.start).toFixed(1)} ${y(value).toFixed(1)}`;
    const next = shown[at + 1];
    if (!joined && !(next && next[key] !== null && next.start - point.start <= step)) {
      alone.push(h("circle", { cx: x(point.start), cy: y(value), r: 2, class: style.split(" ").pop() }));
    }
    before = point.start;
  });
  return [h("path", { d: path, class: style }), alone];
}

// What decides how high a plot of rates is: all rates, and levels as far as these stay readable. A
// newcomer's levels are far above what they come to be.
function highestOf(shown, compared) {
  const rates = Math.max(0.02, ...shown.map((p) => Math.max(p.failure ?? 0, p.throttled ?? 0)), ...compared.map((e) => e.usual ?? 0));
  const most = (key) => {
    const values = compared.map((each) => each[key]).filter((value) => value !== null).sort((a, b) => a - b);
    return values.length ? values[Math.floor(values.length * 0.8)] : 0;
  };
  const limit = Math.max(rates, most("limit"));
  return most("fires") <= 4 * limit ? Math.max(limit, most("fires")) : limit;
}

// The newest level of a kind, and whether it is above the plot; null if there is none.
export function newest(shown, compared, key) {
  const value = compared.findLast((each) => each[key] !== null)?.[key] ?? null;
  return value === null ? null : { value, isBeyond: value > Math.min(1, nice(highestOf(shown, compared))) };
}

// `episodes` are {from, to, label}: when an alert fired. `compared` are levels.
export function rateChart(shown, span, width, episodes, compared, zoom) {
  const top = Math.min(1, nice(highestOf(shown, compared)));
  const [x, y] = scales(span, top, width);
  const middle = (time) => x(time + span.step / 2);
  const within = (key) => compared.map((each) => ({ ...each, [key]: each[key] !== null && each[key] > top ? null : each[key] }));
  const level = (key) => line(within(key), key, middle, y, span.step, `line s-${key}`);
  return frame("Failed and throttled share of the attempts of each window", width, top, (rate) => `${+(rate * 100).toFixed(1)} %`, span, x, y, zoom,
    shading(episodes, span, x),
    level("usual"), level("limit"), level("fires"),
    line(shown, "throttled", middle, y, span.step, "line s-throttle"),
    line(shown, "failure", middle, y, span.step, "line s-fail"),
    hovers(shown, span, x, compared));
}

export function countChart(shown, span, width, episodes, zoom) {
  const top = nice(Math.max(10, ...shown.map((p) => p.attempts)));
  const [x, y] = scales(span, top, width);
  const bars = shown.map((point) => {
    const failed = point.attempts * (point.failure ?? 0);
    const throttled = point.attempts * (point.throttled ?? 0);
    let base = 0;
    return [["f-fail", failed], ["f-throttle", throttled], ["f-rest", point.attempts - failed - throttled]].map(([style, count]) => {
      const bar = h("rect", {
        x: x(point.start) + 0.5,
        width: Math.max(1, x(point.start + span.step) - x(point.start) - 1),
        y: y(base + count),
        height: Math.max(0, y(base) - y(base + count)),
        class: style,
      });
      base += count;
      return bar;
    });
  });
  return frame("Attempts of each window", width, top, number, span, x, y, zoom,
    shading(episodes, span, x), bars, hovers(shown, span, x));
}

const clamp = (time, span) => Math.min(span.to, Math.max(span.from, time));

function shading(episodes, span, x) {
  return episodes.filter((e) => e.to > span.from && e.from < span.to).map((e) => h("rect", {
    class: "episode", x: x(clamp(e.from, span)), y: TOP, height: HEIGHT - TOP - BOTTOM,
    width: Math.max(2, x(clamp(e.to, span)) - x(clamp(e.from, span))),
  }, h("title", {}, e.label)));
}

function scales(span, top, width) {
  const x = (time) => LEFT + ((time - span.from) / (span.to - span.from)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  return [x, y];
}

function frame(label, width, top, format, span, x, y, zoom, ...content) {
  const rows = [0, 0.5, 1].map((share) => [
    h("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(top * share), y2: y(top * share) }),
    h("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)),
  ]);
  const ticks = times(span, width).map((time) =>
    h("text", { x: x(time), y: HEIGHT - 5, "text-anchor": "middle" }, tick(time, span)));
  const box = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label, class: "plot" };
  return h("svg", { ...box, onpointerdown: (event) => drag(event, span, width, zoom) }, rows, ticks, content,
    h("rect", { class: "selection", y: TOP, height: HEIGHT - TOP - BOTTOM, x: 0, width: 0 }));
}

// Drags a range out of a plot, and zooms to it.
function drag(event, span, width, zoom) {
  const plot = event.currentTarget;
  const box = plot.getBoundingClientRect();
  const selection = plot.querySelector(".selection");
  const at = (e) => Math.min(width - RIGHT, Math.max(LEFT, ((e.clientX - box.left) / box.width) * width));
  const time = (px) => span.from + ((px - LEFT) / (width - LEFT - RIGHT)) * (span.to - span.from);
  const begin = at(event);
  let end = begin;
  const move = (e) => {
    end = at(e);
    selection.setAttribute("x", Math.min(begin, end));
    selection.setAttribute("width", Math.abs(end - begin));
  };
  const stop = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", stop);
    selection.setAttribute("width", 0);
    if (Math.abs(end - begin) > 8) zoom(time(Math.min(begin, end)), time(Math.max(begin, end)));
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", stop);
}

function hovers(shown, span, x, compared = []) {
  const known = new Map(compared.map((each) => [each.start, each]));
  return shown.map((point) => h("rect", {
    class: "hover", x: x(point.start), y: TOP, height: HEIGHT - TOP - BOTTOM,
    width: Math.max(2, x(point.start + span.step) - x(point.start)),
  }, h("title", {}, `${clock(point.start)} (${utc(point.start)}): ${number(point.attempts)} attempts, ` +
    `${percent(point.failure)} failed, ${percent(point.throttled)} throttled${told(known.get(point.start))}`)));
}

function told(level) {
  if (!level) return "";
  return [["usual", "usually"], ["limit", "worth an alert above"], ["fires", "fires by itself above"]]
    .filter(([key]) => level[key] !== null).map(([key, label]) => `, ${label} ${percent(level[key])}`).join("");
}

const MINUTE = 60_000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * MINUTE);

function times(span, width) {
  const most = Math.max(2, Math.floor(width / 110));
  const step = STEPS.find((each) => (span.to - span.from) / each <= most) ?? STEPS.at(-1);
  // Whole hours and days of the reader's zone.
  const shift = new Date(span.from).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let at = Math.ceil((span.from - shift) / step) * step + shift; at < span.to; at += step) found.push(at);
  return found;
}

const tick = (time, span) => (span.to - span.from > 172_800_000 ? date(time) : clock(time));

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 6, 8, 10].find((each) => each * power >= value * 0.999) ?? 10) * power;
}
