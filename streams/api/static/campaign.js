// One campaign: its figures over the chosen time, its plots, and its parts.

import { alertCard } from "./alerts.js";
import { countChart, points, rateChart, sparkline } from "./charts.js";
import { ask, campaignPath, cannotAsk, Problem } from "./client.js";
import { clock, el, name, number, OTHER, percent, replace } from "./dom.js";

const SECONDS = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800 };
const MOST_POINTS = 120;
const DIMENSIONS = [["treatment_id", "treatment"], ["channel_type", "channel"], ["delivery_type", "delivery type"]];

const state = { by: "treatment_id", open: false };

export async function campaign(view, id, range, refresh) {
  if (cannotAsk(id)) {
    throw new Problem(404, `Browsers cannot ask for a campaign named “${id}”. In a terminal: campaign-streams query windows ${id}`);
  }
  const about = await ask(campaignPath(id));
  const span = spanOf(about, range);
  const answer = await ask(`${campaignPath(id)}/windows`, {
    from: span.from, to: span.to, step: span.step / 1000, by: state.by,
  });
  return () => {
    const shown = points(answer.windows);
    const width = Math.max(320, Math.min(1160, view.clientWidth - 40));
    replace(view, head(about), tiles(answer.windows), alerts(about),
      answer.windows.length ? plots(shown, span, width) : quiet(about),
      answer.windows.length ? parts(answer.windows, span, refresh) : null);
    return answer;
  };
}

function spanOf(about, range) {
  const size = about.window_seconds;
  const step = Math.max(1, Math.ceil(SECONDS[range] / size / MOST_POINTS)) * size * 1000;
  const to = Math.ceil(Date.parse(about.as_of) / step) * step;
  return { from: to - Math.ceil((SECONDS[range] * 1000) / step) * step, to, step };
}

function head(about) {
  return el("div", { class: "head" },
    el("a", { href: "#", "data-key": "back" }, "← all campaigns"),
    el("h1", { title: about.campaign_id }, name(about.campaign_id)),
    about.app_id ? el("span", { class: "soft" }, "app ", name(about.app_id)) : null,
    about.campaign_id === OTHER ? el("span", { class: "soft" }, "campaigns past limits.campaigns, counted together; no rule looks at them") : null);
}

function tiles(windows) {
  const sum = add(windows);
  const engagement = Object.values(sum.engagement).reduce((a, b) => a + b, 0);
  return el("div", { class: "tiles" }, [
    ["attempts", number(sum.attempts), ""],
    ["failed", percent(sum.rates.failure), sum.rates.failure > 0.05 ? "fail" : ""],
    ["throttled", percent(sum.rates.throttled), sum.rates.throttled > 0.05 ? "throttle" : ""],
    ["opened or received", number(engagement), ""],
    ["late events", number(sum.late), ""],
  ].map(([label, value, style]) => el("div", { class: "tile" },
    el("div", { class: `value ${style}` }, value), el("div", { class: "label" }, label))));
}

function alerts(about) {
  if (!about.alerts.length) return null;
  const newest = [...about.alerts].sort((a, b) => b.pending_since.localeCompare(a.pending_since)).slice(0, 6);
  return el("ul", { class: "alerts", "aria-label": "Alerts" }, newest.map((each) => alertCard(each, about.as_of, false)));
}

function quiet(about) {
  return el("section", { class: "card" }, el("h2", {}, "Nothing in this time"),
    el("p", {}, `The newest window began at ${about.last_window}. Choose a longer time at the top of this page.`));
}

function plots(shown, span, width) {
  const length = span.step >= 120_000 ? `${span.step / 60_000} minutes` : `${span.step / 1000} seconds`;
  return el("section", { class: "card" },
    el("h2", {}, "Rates"),
    el("p", { class: "legend" }, el("span", { class: "l-fail" }, "failed"), el("span", { class: "l-throttle" }, "throttled"),
      `share of the attempts of each ${length}, times in UTC`),
    rateChart(shown, span, width),
    el("h2", {}, "Attempts"),
    el("p", { class: "legend" }, el("span", { class: "l-fail" }, "failed"), el("span", { class: "l-throttle" }, "throttled"), el("span", { class: "l-rest" }, "the others")),
    countChart(shown, span, width),
    details(shown));
}

function details(shown) {
  const box = el("details", { ontoggle: (event) => { state.open = event.target.open; } },
    el("summary", { "data-key": "windows" }, "As a table"),
    el("div", { class: "scroll" }, el("table", {},
      headings("Window (UTC)", "Attempts", "Failed", "Throttled"),
      el("tbody", {}, [...shown].reverse().map((p) => el("tr", {}, el("th", { scope: "row" }, clock(p.start)),
        el("td", {}, number(p.attempts)), el("td", {}, percent(p.failure)), el("td", {}, percent(p.throttled))))))));
  box.open = state.open;
  return box;
}

const headings = (...labels) => el("thead", {}, el("tr", {}, labels.map((label) => el("th", { scope: "col" }, label))));

function parts(windows, span, refresh) {
  const select = el("select", { "data-key": "by", onchange: (event) => { state.by = event.target.value; refresh(); } },
    DIMENSIONS.map(([key, label]) => el("option", { value: key, selected: key === state.by ? "" : null }, label)));
  return el("div", { class: "columns" },
    el("section", { class: "card" },
      el("div", { class: "split" }, el("h2", {}, "Compared"), el("label", { class: "soft" }, "by ", select)),
      el("div", { class: "scroll" }, el("table", {},
        headings(DIMENSIONS.find(([key]) => key === state.by)[1], "Attempts", "Failed", "Throttled", ""),
        el("tbody", {}, groups(windows).map(([value, series]) => groupRow(value, series, span)))))),
    el("section", { class: "card" }, el("h2", {}, "By status"),
      el("table", {}, headings("Status", "Events"),
        el("tbody", {}, Object.entries(add(windows).counts).sort((a, b) => b[1] - a[1])
          .map(([status, count]) => el("tr", {}, el("th", { scope: "row" }, el("span", { class: "campaign", title: status }, name(status))), el("td", {}, number(count))))))));
}

function groups(windows) {
  const found = new Map();
  for (const each of windows) {
    for (const group of each.groups ?? []) {
      const value = group[state.by];
      if (value === undefined) continue; // asked before the choice changed
      if (!found.has(value)) found.set(value, []);
      found.get(value).push({ ...group, start: each.start });
    }
  }
  return [...found].sort((a, b) => String(a[0]).localeCompare(String(b[0])));
}

function groupRow(value, series, span) {
  const sum = add(series);
  return el("tr", {},
    el("th", { scope: "row" }, value === null ? el("span", { class: "soft" }, "none") : el("span", { class: "campaign", title: value }, name(value))),
    el("td", {}, number(sum.attempts)),
    el("td", { class: sum.rates.failure > 0.05 ? "fail high" : "" }, percent(sum.rates.failure)),
    el("td", { class: sum.rates.throttled > 0.05 ? "throttle high" : "" }, percent(sum.rates.throttled)),
    el("td", {}, sparkline(points(series), span)));
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
