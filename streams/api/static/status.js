// The line at the top: whether what is shown is live, whole, or neither.

import { ask, text } from "./client.js";
import { h, patch } from "./dom.js";
import { plural } from "./format.js";

const status = document.getElementById("status");
const notice = document.getElementById("notice");
const facts = { connected: false, ever: false, health: null, problems: {} };
const listeners = new Set();

export const isConnected = () => facts.connected;

// What is not there, or not for this reader, is missing from no answer.
const isComplete = () => Object.values(facts.problems).every((each) => each.status === 403 || each.status === 404);

// Whether the absence of alerts can be believed.
export const isSure = () => facts.connected && isComplete() && facts.health?.ready && !facts.health.missing_partitions.length;

export const onStatus = (listener) => { listeners.add(listener); return () => listeners.delete(listener); };

// Adds to a view's handlers of the stream what the status needs to know.
export function tell(handlers) {
  return {
    ...handlers,
    opened: () => { learn({ connected: true, ever: true }); handlers.opened?.(); },
    lost: () => { learn({ connected: false }); handlers.lost?.(); },
    health: (told) => { learn({ health: told }); handlers.health?.(told); },
  };
}

// Asks the API for something; says what went wrong if it does, and returns null.
export const get = (path, parameters) => shown(path, () => ask(path, parameters));
export const getText = (path) => shown(path, () => text(path));

async function shown(path, question) {
  try {
    const answer = await question();
    const { [path]: _, ...others } = facts.problems;
    learn({ problems: others });
    return answer;
  } catch (error) {
    if (error.status === undefined) console.error(error);
    const text = error.status === undefined ? "This page has a defect: see the browser's console." : error.message;
    learn({ problems: { ...facts.problems, [path]: { status: error.status, text } } });
    return null;
  }
}

export const hasProblems = () => Object.keys(facts.problems).length > 0;

// What another view asked for is no problem of the next one.
export const forgetProblems = () => learn({ problems: {} });

function learn(more) {
  const before = JSON.stringify(facts);
  Object.assign(facts, more);
  if (JSON.stringify(facts) === before) return;
  draw();
  for (const each of listeners) each();
}

function draw() {
  const live = facts.connected;
  status.className = `status ${live ? (isSure() ? "live" : "partial") : "lost"}`;
  const text = live ? (isSure() ? "live" : "incomplete") : facts.ever ? "connection lost" : "connecting…";
  if (status.textContent !== text) status.textContent = text;
  const told = notices();
  patch(notice, told.map(([kind, line]) => h("p", { class: `card notice ${kind}` }, line)));
}

function notices() {
  const found = [];
  if (!facts.connected && facts.ever) found.push(["bad", "The connection to the worker is lost: what is shown may be old. Trying again."]);
  for (const problem of new Set(Object.values(facts.problems).map((each) => each.text))) found.push(["bad", problem]);
  const health = facts.connected ? facts.health : null;
  if (health?.missing_partitions.length) {
    found.push(["", `Incomplete: ${plural(health.missing_partitions.length, "partition")} of ${health.partitions} cannot be asked now (${health.missing_partitions.join(", ")}): moving to another worker, or its worker does not answer.`]);
  }
  if (health && !health.ready) found.push(["", `The worker is not ready: ${health.reasons.join("; ")}.`]);
  else if (health?.reasons.length) found.push(["", `Warning: ${health.reasons.join("; ")}.`]);
  return found;
}
