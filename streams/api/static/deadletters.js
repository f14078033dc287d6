// The newest records that could not be counted, and how they are sent through again.

import { ask } from "./client.js";
import { h, scrolling } from "./dom.js";
import { name, number, when } from "./format.js";

const SHOWN = 10;

// Returns what loads and shows them. That their topic is away says nothing of the rest of the page.
export function deadLetterSamples(changed) {
  let letters = null;
  let problem = null;
  let underWay = false;
  async function load() {
    if (underWay) return;
    underWay = true;
    try {
      letters = (await ask("v1/dead-letters", { limit: SHOWN })).dead_letters;
      problem = null;
    } catch (error) {
      problem = error.message;
    }
    underWay = false;
    changed();
  }
  const shown = () => [
    h("h3", {}, "The newest"),
    problem ? h("p", { class: "soft" }, `They cannot be shown now: ${problem}`) : null,
    letters === null ? null : letters.length ? table(letters) : h("p", { class: "soft" }, "None."),
  ];
  return { load, shown };
}

function table(letters) {
  return [
    scrolling("The newest dead letters", h("table", {},
      h("thead", {}, h("tr", {}, ["When", "Why", "From", "Bytes", "How it begins"]
        .map((label, at) => h("th", { scope: "col", class: at === 3 ? "" : "left" }, label)))),
      h("tbody", {}, letters.map(row)))),
    h("p", { class: "soft" }, "Letters are shown as x and digits as 9, as records may hold data of people. The whole ones: ",
      h("code", {}, "campaign-streams dead-letter list --values"), ". Once the cause is mended, send one through again: ",
      h("code", {}, `campaign-streams dead-letter replay --at ${letters[0].place}`), ", or all of a kind: ",
      h("code", {}, `campaign-streams dead-letter replay --reason ${letters[0].reason}`)),
  ];
}

function row(each) {
  const from = each.source_topic === null ? "–" : `${each.source_topic} ${each.source_partition ?? "?"}:${each.source_offset ?? "?"}`;
  return h("tr", { key: each.place },
    h("th", { scope: "row", class: "left" }, when(each.failed_at)),
    h("td", { class: "wide", title: `place ${each.place}` }, `${each.reason}${each.replayed ? ", sent again" : ""}${each.truncated ? ", cut off" : ""}`,
      each.detail ? [h("br"), h("span", { class: "soft" }, name(each.detail))] : null),
    h("td", { class: "left" }, name(from)),
    h("td", {}, number(each.size)),
    h("td", { class: "wide" }, each.beginning === null ? "–" : h("code", {}, name(each.beginning))));
}
