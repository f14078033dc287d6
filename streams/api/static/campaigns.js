// The overview: what fires, and the campaigns that were active lately.

import { ask } from "./client.js";
import { alertCard } from "./alerts.js";
import { points, sparkline } from "./charts.js";
import { campaignLink, clock, el, name, number, percent, replace } from "./dom.js";

const RECENT = 30;
const PAGE = 100;
const MOST = 1000;
const COLUMNS = [
  ["campaign_id", "Campaign"],
  ["attempts", "Attempts"],
  ["failure_rate", "Failed"],
  ["throttled_rate", "Throttled"],
];

const state = { sort: "-failure_rate", limit: PAGE };

export async function overview(view, range, refresh) {
  const [alerts, list] = await Promise.all([
    ask("v1/alerts", { state: "firing", limit: 50 }),
    ask("v1/campaigns", { active_within: range, sort: state.sort, limit: state.limit, recent: RECENT }),
  ]);
  return () => {
    replace(view, firing(alerts), list.campaigns.length ? table(list, refresh) : nothing(range));
    return list;
  };
}

function firing(answer) {
  if (!answer.alerts.length) return el("p", { class: "calm" }, "No alert is firing.");
  const count = answer.next_cursor ? `more than ${answer.alerts.length}` : answer.alerts.length;
  return el("section", { "aria-label": "Firing alerts" },
    el("h2", {}, `Firing: ${count}`),
    el("ul", { class: "alerts" }, answer.alerts.map((each) => alertCard(each, answer.as_of, true))));
}

function nothing(range) {
  return el("section", { class: "card" },
    el("h2", {}, `No campaign was active in the last ${range}`),
    el("p", {}, "Events that are older are shown with a longer time, at the top of this page."),
    el("p", { class: "soft" }, "Nothing at all? Check that producers send to the source topic, or send something: ",
      el("code", {}, "campaign-streams simulate"), " or ",
      el("code", {}, "campaign-streams produce --now FILE"), "."));
}

function table(list, refresh) {
  const step = list.window_seconds * 1000;
  const to = Math.ceil(Date.parse(list.as_of) / step) * step;
  const span = { from: to - RECENT * step, to: to - step, step };
  const more = list.next_cursor && state.limit < MOST
    ? el("p", {}, el("button", { "data-key": "more", onclick: () => { state.limit = Math.min(MOST, state.limit * 3); refresh(); } }, "Show more"))
    : null;
  return el("section", { class: "card" },
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, COLUMNS.map(([key, label]) => heading(key, label, refresh)),
        el("th", { class: "left", scope: "col" }, el("span", { class: "fail" }, "failed"), " and ", el("span", { class: "throttle" }, "throttled"), `, last ${RECENT} windows`), el("th", { scope: "col" }, "Last window (UTC)"))),
      el("tbody", {}, list.campaigns.map((row) => tableRow(row, span))))),
    more);
}

function heading(key, label, refresh) {
  const descending = state.sort === `-${key}`;
  const sorted = descending ? "descending" : state.sort === key ? "ascending" : null;
  const sort = () => {
    const first = key === "campaign_id" ? key : `-${key}`;
    state.sort = state.sort === first ? (first === key ? `-${key}` : key) : first;
    refresh();
  };
  return el("th", { scope: "col", "aria-sort": sorted },
    el("button", { "data-key": `sort ${key}`, onclick: sort }, label, sorted ? (descending ? " ↓" : " ↑") : ""));
}

function tableRow(row, span) {
  const fires = row.alerts.some((alert) => alert.state === "firing");
  return el("tr", {},
    el("th", { scope: "row" },
      el("a", { class: "campaign", href: campaignLink(row.campaign_id), title: row.campaign_id, "data-key": `campaign ${row.campaign_id}` }, name(row.campaign_id)),
      fires ? el("span", { class: "flag", title: "an alert is firing" }, "▲ firing") : null),
    el("td", {}, number(row.attempts)),
    el("td", { class: row.rates.failure > 0.05 ? "fail high" : "" }, percent(row.rates.failure)),
    el("td", { class: row.rates.throttled > 0.05 ? "throttle high" : "" }, percent(row.rates.throttled)),
    el("td", {}, sparkline(points(row.recent).filter((p) => p.start >= span.from), span)),
    el("td", { class: "soft" }, clock(row.last_window)));
}
