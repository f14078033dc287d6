// The dashboard: asks again every other second, and shows the overview or one campaign.

import { campaign } from "./campaign.js";
import { overview } from "./campaigns.js";
import { el, replace } from "./dom.js";

const EVERY = 2000;
const view = document.getElementById("view");
const notice = document.getElementById("notice");
const status = document.getElementById("status");
const range = document.getElementById("range");

let asked = 0;
let timer = null;

async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  let show;
  try {
    const id = chosen();
    show = await (id === null ? overview(view, range.value, refresh) : campaign(view, id, range.value, refresh));
  } catch (error) {
    if (mine === asked) fail(error);
  }
  if (mine !== asked) return; // something else was chosen meanwhile
  if (show) succeed(show());
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}

function chosen() {
  const hash = window.location.hash;
  if (!hash.startsWith("#campaign=")) return null;
  try {
    return decodeURIComponent(hash.slice("#campaign=".length)) || null;
  } catch {
    return null;
  }
}

function succeed(answer) {
  status.className = "status live";
  const text = `live, as of ${answer.as_of.slice(11, 19)} UTC`;
  if (status.textContent !== text) status.textContent = text;
  const missing = answer.missing_partitions;
  tell(missing.length
    ? `Incomplete: partition ${missing.join(", ")} cannot be asked now (it is moving to another worker, or its worker does not answer). Its campaigns are missing below.`
    : "", "");
}

function fail(error) {
  status.className = "status lost";
  status.textContent = error.status ? "refused" : "connection lost";
  if (error.status === 404) replace(view);
  if (error.status === undefined) console.error(error);
  tell(error.status === undefined ? "This page has a defect: see the browser's console." : error.message, "bad");
}

function tell(text, kind) {
  if (notice.textContent === text) return; // so that it is read out once
  notice.replaceChildren(...(text ? [el("p", { class: `card notice ${kind}` }, text)] : []));
}

window.addEventListener("hashchange", () => { view.replaceChildren(); window.scrollTo(0, 0); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
range.addEventListener("change", refresh);
refresh();
