// An alert as a card.

import { campaignLink, el, name, number, percent, since } from "./dom.js";

export function alertCard(alert, now, linked) {
  const seen = alert.evidence;
  const where = [["treatment", alert.treatment_id], ["channel", alert.channel_type]]
    .filter(([, value]) => value !== null).map(([label, value]) => `, ${label} ${value}`).join("");
  const over = alert.ends_at !== null;
  // That somebody has taken it on is told only to receivers that know what that is.
  const told = alert.transitions.filter((step) => step.type !== "campaign.alert.acknowledged");
  const suppressed = told.at(-1)?.suppressed;
  return el("li", { class: `alert ${alert.state}` },
    el("div", { class: "name" }, el("span", {}, alert.rule), el("span", { class: "tag" }, over ? alert.state : `${alert.state}${alert.episode > 1 ? " again" : ""} · ${alert.severity}`)),
    el("div", { class: "rate" }, percent(seen.rate)),
    linked ? el("p", {}, el("a", { href: campaignLink(alert.campaign_id), title: alert.campaign_id, "data-key": `alert ${alert.alert_id}` }, name(alert.campaign_id)), where) : null,
    el("p", { class: "soft" }, `${number(seen.hits)} of ${number(seen.attempts)} attempts, `,
      over ? `ended ${since(alert.ends_at, now)} ago` : `for ${since(alert.starts_at, now)}`),
    el("p", { class: "soft" }, `peak ${percent(alert.peak.rate)}; in the windows since it began ${number(alert.totals.hits)} of ${number(alert.totals.attempts)}`),
    alert.acknowledged ? el("p", { class: "soft" }, `acknowledged by ${alert.acknowledged.by}${alert.acknowledged.comment ? `: ${alert.acknowledged.comment}` : ""}`) : null,
    alert.explanation?.slice ? explained(alert.explanation.slice) : null,
    suppressed ? el("p", { class: "soft" }, `nobody was notified: ${suppressed.detail}`) : null);
}

const LABELS = { channel_type: "channel", treatment_id: "treatment", delivery_type: "delivery type" };

function explained(part) {
  const named = Object.entries(part.dimensions).flatMap(([dimension, value], at) => [
    at ? " with " : "", value === null ? `no ${LABELS[dimension]}` : `${LABELS[dimension]} `, value === null ? "" : name(value)]);
  return el("p", { class: "soft" }, `${percent(part.share)} of the excess is `, ...named, `: ${percent(part.rate)} in the windows since it began, usually ${percent(part.usual_rate)}`);
}
