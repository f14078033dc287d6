// Whether the workers do their work: readiness, partitions, consumer lag, dead letters, receivers.

import { deliveryTable } from "./alerts.js";
import { deadLetterSamples } from "./deadletters.js";
import { h, patch, scrolling } from "./dom.js";
import { name, number, when } from "./format.js";
import { follow } from "./live.js";
import { get, getText, isConnected, onStatus, tell } from "./status.js";

const PAUSE = 5_000;

const LOADING = h("p", { class: "soft" }, "Loading…");
const MISSING = h("p", { class: "soft" }, "There is no answer: see above.");

export function health(view) {
  const state = { told: null, samples: null, receivers: null, deliveries: null, nothing: LOADING };
  const newest = deadLetterSamples(() => draw());
  async function load() {
    newest.load();
    const [samples, receivers, deliveries] = await Promise.all([
      getText("metrics"), get("v1/receivers"), get("v1/deliveries", { state: "given-up", limit: 50 }),
    ]);
    Object.assign(state, { samples: samples === null ? null : parse(samples), receivers: receivers?.receivers ?? null, deliveries: deliveries?.deliveries ?? null, nothing: MISSING });
    draw();
  }
  const draw = () => patch(view,
    h("section", { class: "card" }, h("h1", {}, "Health"), state.told ? readiness(state.told) : LOADING),
    h("section", { class: "card" }, h("h2", {}, "Partitions of this worker"), state.samples ? partitions(state.samples) : state.nothing),
    h("section", { class: "card" }, h("h2", {}, "Dead letters since this worker's start"), state.samples ? deadLetters(state.samples) : state.nothing, newest.shown()),
    h("section", { class: "card" }, h("h2", {}, "Receivers"), state.receivers ? receiverTable(state.receivers) : state.nothing),
    h("section", { class: "card" }, h("h2", {}, "Given up"), state.deliveries ? deliveryTable(state.deliveries, load) : state.nothing));
  draw();
  const stream = follow({ type: "health" }, tell({ opened: load, health: (told) => { state.told = told; draw(); } }));
  const forget = onStatus(draw);
  const regularly = setInterval(() => { if (!document.hidden) load(); }, PAUSE);
  return { draw, close: () => { stream.close(); forget(); clearInterval(regularly); } };
}

function readiness(told) {
  const missing = told.missing_partitions;
  if (!isConnected()) return h("p", { class: "calm unsure" }, "This worker does not answer.");
  return [
    h("p", { class: told.ready && !missing.length ? "calm" : "calm unsure" }, told.ready ? "This worker is ready." : `This worker is not ready: ${told.reasons.join("; ")}.`),
    told.ready && told.reasons.length ? h("p", {}, `Warnings: ${told.reasons.join("; ")}.`) : null,
    h("p", {}, missing.length ? `Of ${told.partitions} partitions, ${missing.join(", ")} cannot be asked now.` : `All ${told.partitions} partitions can be asked.`),
  ];
}

// The text format of Prometheus: `name{label="value"} 1`.
function parse(page) {
  const found = [];
  for (const line of page.split("\n")) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value.replace(/\\(.)/g, "$1");
    found.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return found;
}

function partitions(samples) {
  const rows = samples.filter((each) => each.name === "campaign_streams_consumer_lag");
  if (!rows.length) return h("p", { class: "soft" }, "It reads none, or does not know yet how far it is behind.");
  rows.sort((a, b) => b.value - a.value);
  return scrolling("Partitions", h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "left" }, "Topic and partition"), h("th", { scope: "col" }, "Records behind"))),
    h("tbody", {}, rows.map((each) => h("tr", { key: `${each.labels.topic} ${each.labels.partition}` },
      h("th", { scope: "row", class: "left" }, name(`${each.labels.topic ?? ""} ${each.labels.partition ?? ""}`)), h("td", {}, number(each.value)))))));
}

function deadLetters(samples) {
  const rows = samples.filter((each) => each.name === "campaign_streams_dead_letters_total" && each.value > 0);
  if (!rows.length) return h("p", { class: "soft" }, "None.");
  return [h("table", {}, h("tbody", {}, rows.map((each) => h("tr", { key: each.labels.reason }, h("th", { scope: "row", class: "left" }, name(each.labels.reason)), h("td", {}, number(each.value)))))),
    h("p", { class: "soft" }, "What they are: ", h("code", {}, "campaign-streams dead-letter list"))];
}

function receiverTable(receivers) {
  if (!receivers.length) return h("p", {}, "None: nobody is told of alerts.");
  return scrolling("Receivers", h("table", {},
    h("thead", {}, h("tr", {}, ["Receiver", "State", "Since", "Why"].map((each, at) => h("th", { scope: "col", class: at === 2 ? "" : "left" }, each)))),
    h("tbody", {}, receivers.map((each) => h("tr", { key: each.name },
      h("th", { scope: "row", class: "left" }, name(each.name)),
      h("td", { class: `left state ${each.state === "enabled" ? "delivered" : "given-up"}` }, each.state),
      h("td", {}, each.since ? when(each.since) : "–"),
      h("td", { class: "wide" }, each.reason ? name(each.reason) : "–"))))));
}
