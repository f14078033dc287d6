// The dashboard: shows the view that the page's URL names, and its range.

import { alertList, oneAlert } from "./alerts.js";
import { campaign } from "./campaign.js";
import { h, patch } from "./dom.js";
import { zone } from "./format.js";
import { health } from "./health.js";
import { overview } from "./overview.js";
import { change, here, link } from "./place.js";
import { rules } from "./rules.js";
import { forgetProblems, hasProblems, onStatus } from "./status.js";

const VIEWS = { overview, campaign, alerts: alertList, alert: oneAlert, rules, health };
const NEED_ID = new Set(["campaign", "alert"]);
const RANGED = new Set(["overview", "campaign"]);

const view = document.getElementById("view");
const range = document.getElementById("range");
let shown = null;

function show() {
  const place = here();
  const known = place.view in VIEWS && (!NEED_ID.has(place.view) || place.id);
  if (!known) {
    window.history.replaceState(null, "", link("overview"));
    return show();
  }
  const isOther = shown?.place.view !== place.view || shown.place.id !== place.id;
  shown?.close();
  forgetProblems();
  if (isOther) {
    waiting();
    window.scrollTo(0, 0);
  }
  range.value = place.settings.range;
  range.parentElement.hidden = !RANGED.has(place.view);
  for (const each of document.querySelectorAll("nav a")) {
    const isHere = each.dataset.view === place.view;
    if (isHere) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  shown = { ...VIEWS[place.view](view, place), place };
  return undefined;
}

// What stands where a view has nothing to show yet; the notice above it says what went wrong.
function waiting() {
  patch(view, hasProblems()
    ? h("p", { id: "waiting" }, h("a", { href: link("overview") }, "← all campaigns"))
    : h("p", { id: "waiting", class: "soft" }, "Loading…"));
}

onStatus(() => { if (document.getElementById("waiting")) waiting(); });
document.getElementById("zone").textContent = zone;
range.addEventListener("change", () => change({ range: range.value, from: "", to: "" }));
window.addEventListener("hashchange", show);
window.addEventListener("popstate", show);
window.addEventListener("placechange", show);
window.addEventListener("resize", () => shown?.draw());
// What lasts goes on lasting.
setInterval(() => { if (!document.hidden) shown?.draw(); }, 5_000);
show();
