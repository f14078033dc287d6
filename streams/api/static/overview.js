// The overview: what fires, and the campaigns that were active lately.

import { alertCard, named } from "./alerts.js";
import { button } from "./actions.js";
import { points, sparkline } from "./charts.js";
import { h, patch, scrolling } from "./dom.js";
import { number, percent, plural, when } from "./format.js";
import { follow } from "./live.js";
import { change, link, rangeName } from "./place.js";
import { get, isSure, onStatus, tell } from "./status.js";

const RECENT = 30;
const PAGE = 100;
const MOST = 500;
const CERTAIN = 0.05;
const FEW = 20;
const PAUSE = 1_000;
const COLUMNS = [
  ["campaign_id", "Campaign"],
  ["attempts", "Attempts"],
  ["failure_lower_bound", "Failed"],
  ["throttled_lower_bound", "Throttled"],
];
const DEFAULT_SORT = "-failure_lower_bound";

export function overview(view, place) {
  const { settings } = place;
  const sort = settings.sort ?? DEFAULT_SORT;
  const state = { alerts: new Map(), deliveries: new Map(), list: null, limit: PAGE, more: false, checked: false };
  let timer = null;
  let closed = false;

  async function loadAlerts() {
    const [alerts, deliveries] = await Promise.all([
      get("v1/alerts", { state: "firing", limit: 200 }),
      get("v1/deliveries", { limit: 500 }),
    ]);
    if (!alerts || !deliveries || closed) return;
    state.alerts = new Map(alerts.alerts.map((each) => [each.alert_id, each]));
    state.deliveries = new Map(deliveries.deliveries.map((each) => [each.delivery_id, each]));
    state.more = alerts.next_cursor !== null;
    state.checked = true;
    draw();
  }

  async function loadList() {
    clearTimeout(timer);
    timer = null;
    const answer = await get("v1/campaigns", {
      active_within: settings.range, sort, search: settings.search, app_id: settings.app_id, limit: state.limit, recent: RECENT,
    });
    if (!answer || closed) return;
    state.list = answer;
    draw();
    stream.ask(query(answer.campaigns));
  }

  // Of windows only those are followed that can be seen: the order follows from the next list.
  const query = (rows) => ({ type: "window,alert,delivery,health", campaign_ids: JSON.stringify(rows.map((row) => row.campaign_id).slice(0, MOST).sort()) });

  function soon() {
    if (!timer && !document.hidden) timer = setTimeout(loadList, PAUSE);
  }

  const draw = () => patch(view, firing(state, loadAlerts), campaigns(state, place, sort, () => { state.limit = Math.min(MOST, state.limit * 5); loadList(); }));
  const load = () => { loadAlerts(); loadList(); };
  const stream = follow(query([]), tell({
    opened: () => { if (!state.checked || !isSure()) load(); },
    missed: load,
    window: soon,
    alert: (each) => {
      if (each.state === "firing") state.alerts.set(each.alert_id, each);
      else state.alerts.delete(each.alert_id);
      draw();
    },
    delivery: (each) => { state.deliveries.set(each.delivery_id, each); draw(); },
  }));
  const forget = onStatus(draw);
  // Campaigns that are new, or have gone quiet, are none that is followed.
  const regularly = setInterval(soon, 10_000);
  draw();
  return {
    draw,
    close: () => { closed = true; stream.close(); forget(); clearTimeout(timer); clearInterval(regularly); },
  };
}

function firing(state, load) {
  const alerts = [...state.alerts.values()].sort(urgency);
  if (!state.checked) return h("h1", { key: "alerts", class: "calm unsure" }, "Asking for alerts…");
  if (!alerts.length) {
    return isSure()
      ? h("h1", { key: "alerts", class: "calm" }, "No alert is firing.")
      : h("h1", { key: "alerts", class: "calm unsure" }, "No alert is known to be firing, but not everything can be asked.");
  }
  const of = (alert) => [...state.deliveries.values()].filter((each) => each.alert_id === alert.alert_id || (alert.group_id && each.alert_id === alert.group_id));
  return h("section", { key: "alerts", "aria-label": "Firing alerts" },
    h("h1", {}, `${plural(alerts.length, "alert")}${state.more ? " and more" : ""} firing`, h("a", { class: "aside", href: link("alerts", null, { state: "firing" }) }, "as a list")),
    h("ul", { class: "alerts" }, alerts.slice(0, 24).map((each) => alertCard(each, of(each), { linked: true, done: load }))));
}

const RANKS = { critical: 0, error: 1, warning: 2, info: 3 };
const urgency = (a, b) => Boolean(a.acknowledged) - Boolean(b.acknowledged)
  || (RANKS[a.severity] ?? 2) - (RANKS[b.severity] ?? 2) || b.totals.hits - a.totals.hits || a.alert_id.localeCompare(b.alert_id);

function campaigns(state, place, sort, more) {
  const { settings } = place;
  return h("section", { key: "campaigns", class: "card" },
    h("div", { class: "split" }, h("h2", {}, "Campaigns"), h("div", { class: "filters" },
      h("label", {}, "Find ", h("input", { type: "search", value: settings.search ?? "", placeholder: "part of a name or id", oninput: searching })),
      settings.app_id ? h("a", { href: link("overview", null, { ...settings, app_id: "" }) }, "all apps") : null)),
    !state.list ? h("p", { class: "soft" }, "Loading…") : state.list.campaigns.length ? table(state.list, place, sort, more, state.limit) : nothing(settings));
}

let typing = null;
function searching(event) {
  clearTimeout(typing);
  const { value } = event.target;
  typing = setTimeout(() => change({ search: value }, { replace: true }), 300);
}

function nothing(settings) {
  if (settings.search || settings.app_id) return h("p", { class: "soft" }, `No such campaign was active in the last ${rangeName(settings.range)}.`);
  return [
    h("p", {}, `No campaign was active in the last ${rangeName(settings.range)}. Events that are older are shown with a longer time, at the top of this page.`),
    h("p", { class: "soft" }, "Nothing at all? Check that producers send to the source topic, or send something: ",
      h("code", {}, "campaign-streams simulate"), " or ", h("code", {}, "campaign-streams produce --now FILE"), "."),
  ];
}

function table(list, place, sort, more, limit) {
  const step = list.window_seconds * 1000;
  const to = Math.ceil(Date.parse(list.as_of) / step) * step;
  const span = { from: to - RECENT * step, to, step };
  return [
    scrolling("Campaigns", h("table", {},
      h("thead", {}, h("tr", {}, COLUMNS.map(([key, label]) => heading(key, label, sort)),
        h("th", { class: "left plots", scope: "col" }, h("span", { class: "fail" }, "failed"), " and ", h("span", { class: "throttle" }, "throttled"), `, last ${RECENT} windows`),
        h("th", { scope: "col", class: "lesser" }, "Last window"))),
      h("tbody", {}, list.campaigns.map((row) => tableRow(row, span, place))))),
    list.next_cursor ? h("p", {}, limit < MOST ? button("Show more", more) : "There are more: find them by a part of their name or id.") : null,
  ];
}

function heading(key, label, sort) {
  const descending = sort === `-${key}`;
  const sorted = descending ? "descending" : sort === key ? "ascending" : null;
  const first = key === "campaign_id" ? key : `-${key}`;
  const next = sort === first ? (first === key ? `-${key}` : key) : first;
  return h("th", { scope: "col", "aria-sort": sorted, class: key === "campaign_id" ? "left" : "" },
    button([label, sorted ? (descending ? " ↓" : " ↑") : ""], () => change({ sort: next })));
}

// What is certain decides what is loud: one failure of one attempt says nothing.
function tableRow(row, span, place) {
  const fires = row.alerts.some((alert) => alert.state === "firing");
  const rate = (key, style) => {
    const certain = row.lower_bounds[key];
    return h("td", { class: certain > CERTAIN && row.attempts >= FEW ? `${style} high` : "", title: certain === null ? "no attempts" : `${percent(certain)} or more, for certain` }, percent(row.rates[key]));
  };
  return h("tr", { key: row.campaign_id },
    h("th", { scope: "row", class: "left" },
      h("a", { class: "campaign", href: link("campaign", row.campaign_id, { range: place.settings.range }), title: row.campaign_id }, named(row)),
      fires ? h("span", { class: "flag" }, "▲", h("span", {}, " firing")) : null),
    h("td", {}, number(row.attempts)),
    rate("failure", "fail"),
    rate("throttled", "throttle"),
    h("td", { class: "plots" }, sparkline(points(row.recent ?? []).filter((p) => p.start >= span.from), span)),
    h("td", { class: "soft lesser" }, when(row.last_window)));
}
