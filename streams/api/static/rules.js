// What is watched for, and what nobody is told of: rules and silences.

import { button, endSilence } from "./actions.js";
import { h, heard, patch, scrolling } from "./dom.js";
import { name, when } from "./format.js";
import { follow } from "./live.js";
import { link } from "./place.js";
import { get, tell } from "./status.js";

export function rules(view) {
  const state = { rules: null, silences: null };
  async function load() {
    const [found, silenced] = await Promise.all([get("v1/rules"), get("v1/silences", { limit: 200 })]);
    if (!found || !silenced) return;
    state.rules = found.rules;
    state.silences = silenced.silences;
    draw();
  }
  const draw = () => patch(view,
    h("section", { class: "card" }, h("h1", {}, "Rules"), state.rules ? h("ul", { class: "plain" }, state.rules.map(oneRule)) : h("p", { class: "soft" }, "Loading…")),
    h("section", { class: "card" }, h("h2", {}, "Silences"), state.silences ? silenceTable(state.silences, load) : h("p", { class: "soft" }, "Loading…")));
  draw();
  const stream = follow({ type: "health" }, tell({ opened: load }));
  const regularly = setInterval(() => { if (!document.hidden) load(); }, 10_000);
  return { draw, close: () => { stream.close(); clearInterval(regularly); } };
}

function oneRule(rule) {
  const detector = Object.entries(rule.detector).filter(([, value]) => value !== null);
  const only = [...rule.match.campaigns, ...rule.match.apps].filter((pattern) => pattern !== "*");
  return h("li", { key: rule.name },
    h("h2", {}, name(rule.name), h("span", { class: "tag" }, rule.severity), h("a", { class: "aside", href: link("alerts", null, { rule: rule.name }) }, "its alerts")),
    h("p", {}, "Hits: ", rule.statuses.map((each, at) => [at ? ", " : "", h("code", {}, name(each))]), rule.unrecognised ? " and every status in no group" : "",
      `; for each ${rule.scope}${only.length ? " of " : ""}`,
      only.map((each, at) => [at ? ", " : "", h("code", {}, name(each))])),
    h("p", { class: "soft" }, detector.map(([key, value], at) => [at ? " · " : "", `${key.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`])),
    h("p", { class: "soft" }, `told to: ${rule.receivers.includes("*") ? "every receiver" : rule.receivers.join(", ") || "nobody"}`));
}

function silenceTable(silences, load) {
  if (!silences.length) return h("p", { class: "soft" }, "None. An alert can be silenced from its card.");
  return scrolling("Silences", h("table", {},
    h("thead", {}, h("tr", {}, ["Alerts that match", "State", "From", "To", "By", "Why", heard("Action")].map((each, at) => h("th", { scope: "col", class: at < 2 || at === 5 ? "left" : "" }, each)))),
    h("tbody", {}, silences.map((each) => h("tr", { key: each.silence_id },
      h("th", { scope: "row", class: "left wide" }, each.matchers.map((matcher, at) => [at ? h("br") : null, h("code", {}, name(matcher))])),
      h("td", { class: "left" }, each.state),
      h("td", {}, when(each.starts_at)),
      h("td", {}, each.ended_at ? when(each.ended_at) : each.ends_at ? when(each.ends_at) : "–"),
      h("td", {}, name(each.created_by)),
      h("td", { class: "wide" }, name(each.comment)),
      h("td", {}, each.state === "expired" ? null : button("End", () => endSilence(each, load))))))));
}
