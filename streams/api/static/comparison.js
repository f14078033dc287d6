// Whether one treatment, channel or delivery type of a campaign is really worse than another.

import { campaignPath } from "./client.js";
import { h, scrolling } from "./dom.js";
import { name, number, percent } from "./format.js";
import { get } from "./status.js";

const WORDS = { worse: "worse", better: "better", not_certain: "not certain" };

// Returns what shows the comparison over a span of time: it asks for it when that changes.
export function comparison(id, by, changed) {
  let asked = "";
  let answer = null;
  let underWay = false;
  return (span) => {
    const wanted = `${span.from} ${span.to}`;
    if (wanted !== asked && !underWay) {
      asked = wanted;
      underWay = true;
      get(`${campaignPath(id)}/compare`, { by, from: span.from, to: span.to }).then((found) => {
        underWay = false;
        if (!found) return;
        answer = found;
        changed();
      });
    }
    return answer && answer.groups.length > 1 ? section(answer) : null;
  };
}

function section(answer) {
  const reference = answer.groups.find((each) => each.is_reference);
  return h("section", { key: "comparison", class: "card" },
    h("h2", {}, "Which is worse"),
    h("p", { class: "soft" }, "Shares that failed, compared with ", value(reference), ". Intervals are for ",
      percent(answer.confidence), " and hold however often you look; minutes that vary are taken into account.",
      answer.left_out ? ` ${number(answer.left_out)} groups with fewer attempts are left out.` : null),
    scrolling("Which is worse", h("table", {},
      h("thead", {}, h("tr", {}, ["Group", "Attempts", "Failed", "Between", "Difference, in points", ""]
        .map((label, at) => h("th", { scope: "col", class: at ? "" : "left" }, label)))),
      h("tbody", {}, answer.groups.map(row)))));
}

const value = (group) => (group.value === null
  ? h("span", { class: "soft" }, "none")
  : h("span", { class: "campaign", title: group.value }, name(group.value)));

const points = (share) => `${share < 0 ? "−" : "+"}${(Math.abs(share) * 100).toFixed(2)}`;

function row(group) {
  const found = group.difference;
  const verdict = group.is_reference ? "reference" : found ? WORDS[found.verdict] : "no window together";
  return h("tr", { key: `${typeof group.value} ${group.value}` },
    h("th", { scope: "row", class: "left" }, value(group)),
    h("td", {}, number(group.attempts)),
    h("td", {}, percent(group.rate)),
    h("td", {}, `${percent(group.rate_low)} to ${percent(group.rate_high)}`),
    h("td", {}, found ? `${points(found.difference)} (${points(found.low)} to ${points(found.high)})` : ""),
    h("td", { class: found?.verdict === "worse" ? "fail high" : found ? "" : "soft" }, verdict));
}
