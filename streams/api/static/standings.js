// How the rules stand in a campaign: which of them fire, and why the others do not.

import { h } from "./dom.js";
import { name, when } from "./format.js";
import { link } from "./place.js";

// The rules about the whole campaign, whose levels can be drawn beside its rates.
export const comparable = (standings) => standings
  .filter((each) => each.standing !== "not-about" && each.treatment_id === null && each.channel_type === null)
  .map((each) => each.rule);

const WORDS = {
  firing: "fires", pending: "about to fire", breaching: "a breach", "not-breaching": "no breach",
  "no-attempts": "nothing to judge", "not-about": "not about this campaign",
};

export function why(explained) {
  const fires = explained.standings.some((each) => each.standing === "firing");
  return h("section", { key: "why", class: "card why", "aria-label": "What the rules say" },
    h("div", { class: "split" }, h("h2", {}, fires ? "What the rules say" : "Why no rule fires"), h("span", { class: "soft" }, "as of ", when(explained.at, { seconds: true }))),
    h("ul", { class: "plain" }, explained.standings.map(one)));
}

function one(each) {
  const part = [["treatment", each.treatment_id], ["channel", each.channel_type]].filter(([, value]) => value !== null);
  return h("li", { key: JSON.stringify([each.rule, each.treatment_id, each.channel_type]) },
    h("div", { class: "split" },
      h("strong", {}, name(each.rule), part.map(([label, value]) => [`, ${label} `, name(value)])),
      h("span", { class: `state ${each.standing}` }, each.alert_id ? h("a", { href: link("alert", each.alert_id) }, WORDS[each.standing]) : WORDS[each.standing])),
    h("p", {}, name(sentence(each.why))),
    each.silenced_until === undefined ? null : h("p", {}, "silenced", each.silenced_until ? [" until ", when(each.silenced_until)] : ", without an end"),
    each.notes.map((note) => h("p", { class: "soft" }, name(note))),
    each.requirements.length ? h("details", {}, h("summary", {}, each.any_is_enough ? "Any of these is a breach" : "All of these have to hold"),
      h("ul", { class: "needs" }, each.requirements.map((need) => h("li", { class: need.is_met ? "holds" : "" }, need.text, h("span", { class: "heard" }, need.is_met ? ": holds" : ": does not hold"))))) : null);
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
