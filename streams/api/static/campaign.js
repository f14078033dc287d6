// One campaign: its figures over the chosen time, its plots with the alerts in them, and its parts.

import { alertCard, named } from "./alerts.js";
import { button } from "./actions.js";
import { countChart, levels, newest, points, rateChart, sparkline } from "./charts.js";
import { campaignPath, cannotAsk } from "./client.js";
import { comparison } from "./comparison.js";
import { h, heard, patch, scrolling } from "./dom.js";
import { name, number, OTHER, percent, when } from "./format.js";
import { follow } from "./live.js";
import { change, link, RANGES } from "./place.js";
import { comparable, why } from "./standings.js";
import { get, tell } from "./status.js";

const MOST_POINTS = 120;
const DIMENSIONS = [["treatment_id", "treatment"], ["channel_type", "channel"], ["delivery_type", "delivery type"]];
const PAUSE = 500;
// What is usual changes with each window, and to ask why costs more than to ask what.
const WHY_PAUSE = 10_000;

export function campaign(view, place) {
  const { id, settings } = place;
  const by = DIMENSIONS.some(([key]) => key === settings.by) ? settings.by : "treatment_id";
  const state = { about: null, windows: [], span: null, deliveries: new Map(), problem: "", explained: null, rule: null, compared: [] };
  const comparedParts = comparison(id, by, () => { if (!closed) draw(); });
  let timer = null;
  const asked = {};
  let closed = false;
  if (cannotAsk(id)) {
    patch(view, h("p", { class: "card notice bad" }, `Browsers cannot ask for a campaign named “${id}”. In a terminal: campaign-streams query windows ${id}`));
    return { close: () => {}, draw: () => {} };
  }

  async function load() {
    clearTimeout(timer);
    timer = null;
    const about = await get(campaignPath(id));
    if (!about || closed) return;
    const span = spanOf(about, settings);
    const [answer, list] = await Promise.all([
      get(`${campaignPath(id)}/windows`, { from: span.from, to: span.to, step: span.step / 1000, by }),
      get("v1/deliveries", { campaign_id: id, limit: 200 }),
    ]);
    if (!answer || !list || closed) return;
    Object.assign(state, { about, span, windows: answer.windows });
    for (const each of list.deliveries) state.deliveries.set(each.delivery_id, each);
    draw();
    await loadWhy(span);
  }

  // Whether something is to be asked anew: it is about something else now, or some time has passed.
  function isDue(key, what, pause) {
    const before = asked[key];
    if (before && before.what === what && performance.now() - before.at < pause) return false;
    asked[key] = { what, at: performance.now() };
    return true;
  }

  async function loadWhy(span) {
    if (id === OTHER) return;
    const alerts = JSON.stringify(state.about.alerts.map((each) => [each.alert_id, each.state]));
    if (isDue("why", alerts, WHY_PAUSE)) {
      state.explained = (await get(`${campaignPath(id)}/explain`)) ?? state.explained;
      if (!state.explained || closed) return;
      const rules = comparable(state.explained.standings);
      state.rule = rules.includes(settings.rule) ? settings.rule : rules[0] ?? null;
      draw();
    }
    if (state.rule && isDue("levels", JSON.stringify([state.rule, span.from, span.step, alerts]), Math.max(WHY_PAUSE, span.step / 4))) {
      const baseline = await get(`${campaignPath(id)}/baseline`, { rule: state.rule, from: span.from, to: span.to, step: span.step / 1000 });
      if (!baseline || closed) return;
      state.compared = levels(baseline.points);
      draw();
    }
  }

  const soon = () => { if (!timer && !document.hidden) timer = setTimeout(load, PAUSE); };
  const zoom = (from, to) => change({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });

  function draw() {
    if (!state.about) return;
    const { about, span, windows } = state;
    const width = Math.max(280, Math.min(1160, view.clientWidth - 40));
    patch(view, head(about), tiles(windows), alertsOf(state, load),
      windows.length ? plots(state, width, zoom) : quiet(about),
      state.explained ? why(state.explained) : null,
      windows.length ? parts(windows, span, by) : null,
      windows.length ? comparedParts(span) : null);
  }

  const stream = follow({ campaign_id: id, type: "window,alert,delivery,health" }, tell({
    opened: load,
    missed: load,
    window: soon,
    alert: soon,
    delivery: (each) => { state.deliveries.set(each.delivery_id, each); draw(); },
  }));
  return { draw, close: () => { closed = true; clearTimeout(timer); stream.close(); } };
}

function spanOf(about, settings) {
  const size = about.window_seconds * 1000;
  const given = [Date.parse(settings.from), Date.parse(settings.to)];
  const zoomed = given.every(Number.isFinite) && given[0] < given[1];
  const length = zoomed ? given[1] - given[0] : RANGES[settings.range] * 1000;
  const step = Math.max(1, Math.ceil(length / size / MOST_POINTS)) * size;
  const to = Math.ceil((zoomed ? given[1] : Date.parse(about.as_of)) / step) * step;
  return { from: to - Math.max(1, Math.ceil(length / step)) * step, to, step, zoomed };
}

function head(about) {
  return h("div", { class: "head" },
    h("a", { href: link("overview") }, "← all campaigns"),
    h("h1", { title: about.campaign_id }, named(about)),
    about.campaign_name ? h("span", { class: "soft" }, name(about.campaign_id)) : null,
    about.app_id ? h("span", { class: "soft" }, "app ", h("a", { href: link("overview", null, { app_id: about.app_id }) }, name(about.app_name ?? about.app_id))) : null,
    about.campaign_id === OTHER ? h("span", { class: "soft" }, "campaigns past limits.campaigns, counted together; no rule looks at them") : null);
}

function tiles(windows) {
  const sum = add(windows);
  const engagement = Object.values(sum.engagement).reduce((a, b) => a + b, 0);
  return h("dl", { class: "tiles" }, [
    ["attempts", number(sum.attempts), ""],
    ["failed", percent(sum.rates.failure), sum.rates.failure > 0.05 ? "fail" : ""],
    ["throttled", percent(sum.rates.throttled), sum.rates.throttled > 0.05 ? "throttle" : ""],
    ["opened or received", number(engagement), ""],
    ["late events", number(sum.late), ""],
  ].map(([label, value, style]) => h("div", { class: "tile" }, h("dt", { class: "label" }, label), h("dd", { class: `value ${style}` }, value))));
}

function alertsOf(state, load) {
  const newest = [...state.about.alerts].sort((a, b) => b.pending_since.localeCompare(a.pending_since));
  if (!newest.length) return null;
  const of = (alert) => [...state.deliveries.values()].filter((each) => each.alert_id === alert.alert_id);
  return h("section", { key: "alerts", "aria-label": "Alerts" },
    h("ul", { class: "alerts" }, newest.slice(0, 3).map((each) => alertCard(each, of(each), { linked: false, done: load }))),
    newest.length > 3 ? h("p", {}, h("a", { href: link("alerts", null, { campaign_id: state.about.campaign_id }) }, `all ${newest.length} alerts`)) : null);
}

function quiet(about) {
  return h("section", { class: "card" }, h("h2", {}, "Nothing in this time"),
    h("p", {}, "The newest window began at ", when(about.last_window), ". Choose a longer time at the top of this page."));
}

function episodes(alerts) {
  return alerts.filter((each) => each.starts_at).flatMap((each) => [
    ...each.past_episodes.map((past) => ({ from: Date.parse(past.starts_at), to: Date.parse(past.ends_at), label: each.rule })),
    {
      from: Date.parse(each.starts_at),
      to: each.ends_at ? Date.parse(each.ends_at) : Date.now(),
      label: `${each.rule}, peak ${percent(each.peak.rate)}`,
    }]);
}

const LEVELS = [["usual", "usual rate"], ["limit", "worth an alert above"], ["fires", "fires by itself above"]];

function plots(state, width, zoom) {
  const { about, windows, span, compared } = state;
  const shownPoints = points(windows);
  const length = span.step >= 120_000 ? `${span.step / 60_000} minutes` : `${span.step / 1000} seconds`;
  const fired = episodes(about.alerts);
  const half = (span.to - span.from) / 2;
  const move = (by) => zoom(span.from + by, span.to + by);
  return h("section", { key: "plots", class: "card" },
    h("div", { class: "split" }, h("h2", {}, "Rates"), h("div", { class: "buttons", role: "group", "aria-label": "Time shown" },
      button("Earlier", () => move(-half)), button("Later", () => move(half)),
      button("Closer", () => zoom(span.from + half / 2, span.to - half / 2), { disabled: span.to - span.from <= 4 * span.step }),
      button("Wider", () => zoom(span.from - half, span.to + half)),
      span.zoomed ? button("Now", () => change({ from: "", to: "" })) : null)),
    h("p", { class: "legend" }, h("span", { class: "l-fail" }, "failed"), h("span", { class: "l-throttle" }, "throttled"),
      fired.length ? h("span", { class: "l-episode" }, "an alert fires") : null,
      LEVELS.map(([key, label]) => [key, label, newest(shownPoints, compared, key)]).filter(([, , now]) => now).map(([key, label, now]) =>
        h("span", { class: `l-${key}` }, `${label} ${percent(now.value)}${now.isBeyond ? ", above this plot" : ""}`)),
      `share of the attempts of each ${length}`),
    rateChart(shownPoints, span, width, fired, compared, zoom),
    ruleChoice(state),
    h("h2", {}, "Attempts"),
    h("p", { class: "legend" }, h("span", { class: "l-fail" }, "failed"), h("span", { class: "l-throttle" }, "throttled"), h("span", { class: "l-rest" }, "the others")),
    countChart(shownPoints, span, width, fired, zoom),
    h("details", {}, h("summary", {}, "As a table"), scrolling("Windows", h("table", {},
      headings("Window", "Attempts", "Failed", "Throttled"),
      h("tbody", {}, [...shownPoints].reverse().map((p) => h("tr", { key: p.start }, h("th", { scope: "row", class: "left" }, when(p.start)),
        h("td", {}, number(p.attempts)), h("td", {}, percent(p.failure)), h("td", {}, percent(p.throttled)))))))));
}

// Whose levels are drawn.
function ruleChoice(state) {
  const rules = state.explained ? comparable(state.explained.standings) : [];
  if (!rules.length) return null;
  return h("p", { class: "soft" }, h("label", {}, "Lines of rule ", h("select", { onchange: (event) => change({ rule: event.target.value }) },
    rules.map((each) => h("option", { value: each, selected: each === state.rule }, each)))));
}

const headings = (...labels) => h("thead", {}, h("tr", {}, labels.map((label, at) => h("th", { scope: "col", class: at ? "" : "left" }, label))));

function parts(windows, span, by) {
  return h("div", { key: "parts", class: "columns" },
    h("section", { class: "card" },
      h("div", { class: "split" }, h("h2", {}, "Compared"), h("label", { class: "soft" }, "by ",
        h("select", { onchange: (event) => change({ by: event.target.value }) },
          DIMENSIONS.map(([key, label]) => h("option", { value: key, selected: key === by }, label))))),
      scrolling("Parts compared", h("table", {},
        headings(DIMENSIONS.find(([key]) => key === by)[1], "Attempts", "Failed", "Throttled", heard("Rates over time")),
        h("tbody", {}, groups(windows, by).map(([value, series]) => groupRow(value, series, span)))))),
    h("section", { class: "card" }, h("h2", {}, "By status"),
      scrolling("Statuses", h("table", {}, headings("Status", "Events"),
        h("tbody", {}, Object.entries(add(windows).counts).sort((a, b) => b[1] - a[1])
          .map(([status, count]) => h("tr", { key: status }, h("th", { scope: "row", class: "left" }, h("span", { class: "campaign", title: status }, name(status))), h("td", {}, number(count)))))))));
}

function groups(windows, by) {
  const found = new Map();
  for (const each of windows) {
    for (const group of each.groups ?? []) {
      const value = group[by];
      if (value === undefined) continue; // asked before the choice changed
      if (!found.has(value)) found.set(value, []);
      found.get(value).push({ ...group, start: each.start });
    }
  }
  return [...found].sort((a, b) => String(a[0]).localeCompare(String(b[0])));
}

function groupRow(value, series, span) {
  const sum = add(series);
  return h("tr", { key: `${typeof value} ${value}` },
    h("th", { scope: "row", class: "left" }, value === null ? h("span", { class: "soft" }, "none") : h("span", { class: "campaign", title: value }, name(value))),
    h("td", {}, number(sum.attempts)),
    h("td", { class: sum.rates.failure > 0.05 ? "fail high" : "" }, percent(sum.rates.failure)),
    h("td", { class: sum.rates.throttled > 0.05 ? "throttle high" : "" }, percent(sum.rates.throttled)),
    h("td", { class: "plots" }, sparkline(points(series), span)));
}

function add(windows) {
  const sum = { attempts: 0, failed: 0, throttled: 0, late: 0, counts: {}, engagement: {} };
  for (const each of windows) {
    sum.attempts += each.attempts;
    sum.failed += each.attempts * (each.rates.failure ?? 0);
    sum.throttled += each.attempts * (each.rates.throttled ?? 0);
    sum.late += each.late_events ?? 0;
    for (const kind of ["counts", "engagement"]) {
      for (const [key, count] of Object.entries(each[kind])) sum[kind][key] = (sum[kind][key] ?? 0) + count;
    }
  }
  const share = (count) => (sum.attempts ? count / sum.attempts : null);
  return { ...sum, rates: { failure: share(sum.failed), throttled: share(sum.throttled) } };
}
