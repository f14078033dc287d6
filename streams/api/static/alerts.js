// Alerts: as cards, as a list, and one with all that is known of it.

import { acknowledge, button, replay, silence } from "./actions.js";
import { h, heard, patch, scrolling } from "./dom.js";
import { lasting, name, number, percent, plural, when } from "./format.js";
import { follow } from "./live.js";
import { change, here, link } from "./place.js";
import { get, tell } from "./status.js";

const LABELS = { channel_type: "channel", treatment_id: "treatment", delivery_type: "delivery type" };
const SHORT = { "campaign.alert.firing": "began to fire", "campaign.alert.reminder": "still fired", "campaign.alert.resolved": "resolved", "campaign.alert.expired": "expired", "campaign.alert.acknowledged": "acknowledged" };

export const named = (about) => name(about.campaign_name ?? about.campaign_id);

export function where(alert) {
  return [["treatment", alert.treatment_id], ["channel", alert.channel_type]]
    .filter(([, value]) => value !== null).map(([label, value]) => [`, ${label} `, name(value)]);
}

export const usual = (alert) => alert.evidence.baseline_rate ?? alert.explanation?.usual_rate ?? null;

// Is something wrong, where, since when, why, who was told, what now.
export function alertCard(alert, deliveries, { linked, done }) {
  const over = alert.ends_at !== null;
  const seen = alert.evidence;
  return h("li", { key: alert.alert_id, class: `alert ${alert.state} ${alert.acknowledged ? "taken" : ""}` },
    h("div", { class: "name" },
      linked ? h("a", { href: link("campaign", alert.campaign_id), title: alert.campaign_id }, named(alert)) : h("span", {}, alert.rule),
      h("span", { class: "tag" }, over ? alert.state : `${alert.severity}${alert.episode > 1 ? " · again" : ""}`)),
    h("p", {}, linked ? h("span", { class: "soft" }, alert.rule) : null, where(alert)),
    h("p", { class: "figures" },
      h("span", { class: "rate" }, percent(seen.rate)), over ? " at the end" : " now",
      h("span", { class: "soft" }, `, peak ${percent(alert.peak.rate)}`),
      usual(alert) === null ? null : h("span", { class: "soft" }, `, usually ${percent(usual(alert))}`)),
    h("p", { class: "soft" }, "since ", when(alert.starts_at), over ? ` for ${lasting(Date.parse(alert.ends_at) - Date.parse(alert.starts_at))}` : ` (${lasting(Date.now() - Date.parse(alert.starts_at))})`,
      `: ${number(alert.totals.hits)} of ${number(alert.totals.attempts)} attempts`),
    alert.explanation?.slice ? h("p", {}, explained(alert.explanation.slice)) : null,
    h("p", { class: "soft" }, told(alert, deliveries)),
    alert.acknowledged ? h("p", {}, "taken on by ", name(alert.acknowledged.by), alert.acknowledged.comment ? [": ", name(alert.acknowledged.comment)] : "") : null,
    h("p", { class: "buttons" },
      over || alert.acknowledged ? null : button("Acknowledge", () => acknowledge(alert, done)),
      over ? null : button("Silence", () => silence(alert, () => done(alert))),
      here().id === alert.alert_id ? null : h("a", { href: link("alert", alert.alert_id) }, "History")));
}

function explained(part) {
  const slice = Object.entries(part.dimensions).map(([dimension, value], at) => [
    at ? " with " : "", value === null ? `no ${LABELS[dimension] ?? dimension}` : `${LABELS[dimension] ?? dimension} `, value === null ? "" : name(value)]);
  return [`${percent(part.share)} of the excess is `, slice, `: ${percent(part.rate)}, usually ${percent(part.usual_rate)}`];
}

// Who was told: of each receiver, how its newest delivery stands.
function told(alert, deliveries) {
  const transitions = alert.transitions.filter((step) => step.type !== "campaign.alert.acknowledged");
  const suppressed = transitions.at(-1)?.suppressed;
  if (suppressed) return ["nobody was told: ", suppressed.detail];
  const newest = new Map();
  for (const each of [...deliveries].sort((a, b) => a.sequence - b.sequence)) newest.set(each.receiver, each);
  if (!newest.size) return alert.group_id ? "told in a group" : "";
  return ["told: ", [...newest.values()].map((each, at) => [at ? ", " : "", name(each.receiver), ` (${standing(each)})`])];
}

function standing(delivery) {
  if (delivery.state === "delivered") return "delivered";
  if (delivery.state === "given-up") return "given up";
  return delivery.attempts ? `waiting, ${plural(delivery.attempts, "failure")}` : "under way";
}

// The list

const STATES = [["", "all"], ["firing", "firing"], ["pending", "pending"], ["resolved", "resolved"], ["expired", "expired"]];
const PAGE = 100;

export function alertList(view, place) {
  const state = { alerts: new Map(), cursor: null, loaded: false };
  const filters = { state: place.settings.state, rule: place.settings.rule, campaign_id: place.settings.campaign_id, group_id: place.settings.group_id };
  const wanted = (each) => Object.entries(filters).every(([key, value]) => !value || each[key] === value);
  const draw = () => patch(view, h("section", { class: "card" },
    h("div", { class: "split" }, h("h1", {}, "Alerts"), h("div", { class: "filters" },
      h("label", {}, "State ", h("select", { onchange: (e) => change({ state: e.target.value }) },
        STATES.map(([value, label]) => h("option", { value, selected: value === (filters.state ?? "") }, label)))),
      filters.rule || filters.campaign_id || filters.group_id ? h("a", { href: link("alerts", null, { state: filters.state }) }, "all rules and campaigns") : null)),
    !state.loaded ? h("p", { class: "soft" }, "Loading…") : table([...state.alerts.values()].filter(wanted), Object.values(filters).some(Boolean)),
    state.cursor ? button("Show more", () => load(state.cursor)) : null));
  async function load(cursor) {
    const answer = await get("v1/alerts", { ...filters, limit: PAGE, cursor });
    if (!answer) return;
    for (const each of answer.alerts) state.alerts.set(each.alert_id, each);
    state.cursor = answer.next_cursor;
    state.loaded = true;
    draw();
  }
  draw();
  const stream = follow({ type: "alert,health" }, tell({
    opened: () => load(null),
    missed: () => load(null),
    alert: (each) => { state.alerts.set(each.alert_id, each); draw(); },
  }));
  return { close: stream.close, draw };
}

function table(alerts, isFiltered) {
  if (!alerts.length) return h("p", { class: "soft" }, isFiltered ? "No such alert." : "None so far.");
  alerts.sort((a, b) => b.pending_since.localeCompare(a.pending_since));
  return scrolling("Alerts", h("table", {},
    h("thead", {}, h("tr", {}, ["Campaign", "Rule", "State", "Began", "Lasted", "Peak", "Hits of attempts"].map((each, at) => h("th", { scope: "col", class: at < 3 ? "left" : "" }, each)))),
    h("tbody", {}, alerts.map((each) => h("tr", { key: each.alert_id },
      h("th", { scope: "row", class: "left" }, h("a", { class: "campaign", href: link("alert", each.alert_id) }, named(each)), where(each)),
      h("td", { class: "left" }, each.rule),
      h("td", { class: `left state ${each.state}` }, each.state),
      h("td", {}, when(each.starts_at ?? each.pending_since)),
      h("td", {}, each.starts_at ? lasting((each.ends_at ? Date.parse(each.ends_at) : Date.now()) - Date.parse(each.starts_at)) : "–"),
      h("td", {}, percent(each.peak.rate)),
      h("td", {}, `${number(each.totals.hits)} of ${number(each.totals.attempts)}`))))));
}

// One alert

export function oneAlert(view, place) {
  const state = { alert: null, deliveries: new Map() };
  const load = async () => {
    const [one, list] = await Promise.all([
      get(`v1/alerts/${encodeURIComponent(place.id)}`),
      get("v1/deliveries", { alert_id: place.id, limit: 200 }),
    ]);
    if (!one || !list) return;
    state.alert = one.alert;
    for (const each of list.deliveries) state.deliveries.set(each.delivery_id, each);
    draw();
  };
  const draw = () => { if (state.alert) patch(view, page(state.alert, [...state.deliveries.values()], load)); };
  const stream = follow({ type: "alert,delivery,health" }, tell({
    opened: load,
    missed: load,
    alert: (each) => { if (each.alert_id === place.id) { state.alert = each; draw(); } },
    delivery: (each) => { if (each.alert_id === place.id) { state.deliveries.set(each.delivery_id, each); draw(); } },
  }));
  return { close: stream.close, draw };
}

function page(alert, deliveries, load) {
  const explanation = alert.explanation;
  return [
    h("div", { class: "head" }, h("a", { href: link("alerts") }, "← alerts"), h("h1", {}, alert.rule, " · ", named(alert))),
    h("p", {}, alert.summary),
    h("p", {}, h("a", { href: link("campaign", alert.campaign_id) }, "To the campaign")),
    h("ul", { class: "alerts" }, alertCard(alert, deliveries, { linked: false, done: load })),
    explanation ? h("section", { class: "card" }, h("h2", {}, "Why"), figures(alert)) : null,
    h("section", { class: "card" }, h("h2", {}, "History"), history(alert)),
    h("section", { class: "card" }, h("h2", {}, "Deliveries"), deliveryTable(deliveries, load)),
  ];
}

function figures(alert) {
  const { explanation, evidence } = alert;
  const rows = [
    ["hits of attempts", `${number(evidence.hits)} of ${number(evidence.attempts)}: ${percent(evidence.rate)}`],
    ["certain", `${percent(evidence.lower_bound)} or more`],
    ["usually", percent(usual(alert))],
    ["since it began", `${number(explanation.hits)} of ${number(explanation.attempts)} attempts: ${percent(explanation.rate)}; as many would usually have ${number(Math.round(explanation.expected_hits))}`],
    ["of which", explanation.slice ? explained(explanation.slice) : "no part of it stands out"],
    ["counts", Object.entries(evidence.counts ?? {}).map(([status, count], at) => [at ? ", " : "", name(status), ` ${number(count)}`])],
    ["for example", explanation.samples.map((sample) => h("code", {}, name(JSON.stringify(sample))))],
  ].filter(([, figure]) => figure.length);
  return h("table", { class: "pairs" }, h("tbody", {}, rows.map(([label, value]) => h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, value)))));
}

function history(alert) {
  return h("ol", { class: "history" },
    alert.past_episodes.map((each) => h("li", {}, `episode ${each.episode}: `, when(each.starts_at), " to ", when(each.ends_at), `, peak ${percent(each.peak.rate)}`)),
    h("li", {}, when(alert.pending_since, { seconds: true }), " was first seen"),
    alert.transitions.map((step) => h("li", {}, when(step.timestamp, { seconds: true }), ` ${SHORT[step.type] ?? step.type}`,
      step.cause ? h("span", { class: "soft" }, ` · ${Object.values(step.cause).filter((v) => typeof v === "string" && v).join(", ")}`) : null,
      step.suppressed ? h("span", { class: "soft" }, " · nobody was told: ", step.suppressed.detail) : null,
      step.withheld.map((each) => h("span", { class: "soft" }, ` · not told to ${each.receiver}: `, each.detail)))));
}

export function deliveryTable(deliveries, load) {
  if (!deliveries.length) return h("p", { class: "soft" }, "None.");
  deliveries.sort((a, b) => b.created_at.localeCompare(a.created_at));
  return scrolling("Deliveries", h("table", {},
    h("thead", {}, h("tr", {}, ["Receiver", "What", "State", "Decided", "Attempts", "Last answer", heard("Action")].map((each, at) => h("th", { scope: "col", class: at < 3 || at === 5 ? "left" : "" }, each)))),
    h("tbody", {}, deliveries.map((each) => h("tr", { key: each.delivery_id },
      h("th", { scope: "row", class: "left" }, name(each.receiver)),
      h("td", { class: "left" }, SHORT[each.type] ?? each.type ?? "–"),
      h("td", { class: `left state ${each.state}` }, each.state),
      h("td", {}, when(each.created_at, { seconds: true })),
      h("td", {}, number(each.attempted)),
      h("td", { class: "wide" }, name(each.last_error ?? (each.last_attempt ? `${each.last_attempt.status ?? ""} in ${each.last_attempt.duration_ms} ms` : "–"))),
      h("td", {}, each.state === "pending" ? null : button("Send again", () => replay(each, load))))))));
}
