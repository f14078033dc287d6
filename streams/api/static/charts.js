// Plots as SVG. A point is {start, end, attempts, failure, throttled}: times in ms, rates or null.

import { clock, number, percent, svg } from "./dom.js";

const HEIGHT = 170;
const LEFT = 52;
const BOTTOM = 22;
const TOP = 8;

export function points(windows) {
  return windows.map((each) => ({
    start: Date.parse(each.start),
    end: each.end ? Date.parse(each.end) : null,
    attempts: each.attempts,
    failure: each.rates.failure,
    throttled: each.rates.throttled,
  }));
}

// The larger of both rates decides the scale, so that a spike is seen from afar.
export function sparkline(shown, span) {
  const [width, height] = [130, 26];
  const top = Math.max(0.05, ...shown.map((p) => Math.max(p.failure ?? 0, p.throttled ?? 0)));
  const x = (time) => 2 + ((time - span.from) / Math.max(1, span.to - span.from)) * (width - 4);
  const y = (rate) => height - 2 - (rate / top) * (height - 4);
  const lines = [["throttled", "s-throttle"], ["failure", "s-fail"]].map(([key, style]) =>
    line(shown, key, x, y, span.step, `line spark ${style}`));
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, lines);
}

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
      alone.push(svg("circle", { cx: x(point.start), cy: y(value), r: 2, class: style.split(" ").pop() }));
    }
    before = point.start;
  });
  return [svg("path", { d: path, class: style }), ...alone];
}

export function rateChart(shown, span, width) {
  const top = nice(Math.max(0.02, ...shown.map((p) => Math.max(p.failure ?? 0, p.throttled ?? 0))));
  const [x, y] = scales(span, top, width);
  const middle = (time) => x(time + span.step / 2);
  return frame("Failure and throttled rate of each window", width, top, (rate) => `${+(rate * 100).toFixed(1)} %`, span, x, y, [
    line(shown, "throttled", middle, y, span.step, "line s-throttle"),
    line(shown, "failure", middle, y, span.step, "line s-fail"),
    hovers(shown, span, x),
  ]);
}

export function countChart(shown, span, width) {
  const top = nice(Math.max(10, ...shown.map((p) => p.attempts)));
  const [x, y] = scales(span, top, width);
  const bars = shown.flatMap((point) => {
    const failed = point.attempts * (point.failure ?? 0);
    const throttled = point.attempts * (point.throttled ?? 0);
    let base = 0;
    return [["f-fail", failed], ["f-throttle", throttled], ["f-rest", point.attempts - failed - throttled]]
      .map(([style, count]) => {
        const bar = svg("rect", {
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
  return frame("Attempts of each window", width, top, number, span, x, y, [bars, hovers(shown, span, x)]);
}

function scales(span, top, width) {
  const x = (time) => LEFT + ((time - span.from) / (span.to - span.from)) * (width - LEFT - 6);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  return [x, y];
}

function frame(label, width, top, format, span, x, y, content) {
  const rows = [0, 0.5, 1].map((share) => [
    svg("line", { class: "grid", x1: LEFT, x2: width - 6, y1: y(top * share), y2: y(top * share) }),
    svg("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)),
  ]);
  const ticks = times(span, width).map((time) =>
    svg("text", { x: x(time), y: HEIGHT - 5, "text-anchor": "middle" }, tick(time, span)));
  const box = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label };
  return svg("svg", box, rows.flat(), ticks, content.flat(2));
}

function hovers(shown, span, x) {
  return shown.map((point) => svg("rect", {
    class: "hover", x: x(point.start), y: TOP, height: HEIGHT - TOP - BOTTOM,
    width: Math.max(2, x(point.start + span.step) - x(point.start)),
  }, svg("title", {}, `${clock(point.start)} UTC: ${number(point.attempts)} attempts, ` +
    `${percent(point.failure)} failed, ${percent(point.throttled)} throttled`)));
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * 60_000);

function times(span, width) {
  const most = Math.max(2, Math.floor(width / 110));
  const step = STEPS.find((each) => (span.to - span.from) / each <= most) ?? STEPS.at(-1);
  const found = [];
  for (let at = Math.ceil(span.from / step) * step; at < span.to; at += step) found.push(at);
  return found;
}

const tick = (time, span) =>
  span.to - span.from > 172_800_000 ? new Date(time).toISOString().slice(5, 10) : clock(time);

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].find((each) => each * power >= value) * power;
}
