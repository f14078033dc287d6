// What a reader can do: acknowledge, silence, send again. Each needs a token with the scope `write`,
// or this machine.

import { ask } from "./client.js";
import { h } from "./dom.js";

const NAME = "campaign-streams.name";

export const actor = () => window.localStorage.getItem(NAME) ?? "";

// A dialog that asks for what an action needs, does it, and says what went wrong. `fields` are
// {name, label, value, options?, required?}; `act` is given their values.
export function asking(title, explanation, fields, verb, act) {
  const box = document.createElement("dialog");
  const problem = element("p", { class: "problem", role: "alert" });
  const form = element("form", { method: "dialog" });
  form.append(element("h2", { id: "dialog-title" }, title), element("p", { class: "soft" }, explanation));
  for (const each of fields) form.append(field(each));
  const send = element("button", { class: "main", type: "submit" }, verb);
  const cancel = element("button", { type: "button" }, "Cancel");
  cancel.onclick = () => box.close();
  const row = element("div", { class: "buttons" });
  row.append(send, cancel);
  form.append(problem, row);
  form.onsubmit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    problem.textContent = "";
    try {
      await act(Object.fromEntries(new FormData(form)));
      box.close();
    } catch (error) {
      problem.textContent = error.status === 403 ? `${error.message}: this page's token can only read.` : error.message;
      send.disabled = false;
    }
  };
  box.setAttribute("aria-labelledby", "dialog-title");
  box.onclose = () => box.remove();
  box.append(form);
  document.body.append(box);
  box.showModal();
}

function element(tag, attributes, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function field({ name, label, value, options, required }) {
  const box = element("label", {}, label);
  const input = element(options ? "select" : "input", { name, ...(required ? { required: "" } : {}), ...(options ? {} : { maxlength: 200 }) });
  for (const [key, text] of options ?? []) input.append(element("option", { value: key }, text));
  input.value = value ?? "";
  box.append(input);
  return box;
}

const BY = () => ({ name: "by", label: "Your name", value: actor(), required: true });
const remember = (by) => window.localStorage.setItem(NAME, by);

export function acknowledge(alert, done) {
  asking("Take this alert on", "Others see who has it, and receivers are not reminded of it any more.",
    [BY(), { name: "comment", label: "Comment", value: "" }], "Acknowledge", async ({ by, comment }) => {
      remember(by);
      const answer = await ask(`v1/alerts/${encodeURIComponent(alert.alert_id)}/acknowledge`, { by, comment }, { method: "POST" });
      done(answer.alert);
    });
}

const HOURS = [["1", "1 hour"], ["4", "4 hours"], ["12", "12 hours"], ["24", "a day"], ["168", "a week"]];
const quoted = (value) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;

export function silence(alert, done) {
  const matchers = [`rule=${quoted(alert.rule)}`, `campaign_id=${quoted(alert.campaign_id)}`];
  asking("Silence this alert", "While it lasts nobody is notified of this rule's alerts about this campaign. They are still raised and shown.",
    [{ name: "hours", label: "For", value: "1", options: HOURS }, BY(), { name: "comment", label: "Why", value: "", required: true }], "Silence",
    async ({ hours, by, comment }) => {
      remember(by);
      const ends = new Date(Date.now() + Number(hours) * 3_600_000).toISOString();
      const body = { matchers, ends_at: ends, created_by: by, comment };
      done((await ask("v1/silences", {}, { method: "POST", body })).silence);
    });
}

export function endSilence(silence, done) {
  asking("End this silence", "Alerts that it kept back and that still fire are told at once.", [BY()], "End it", async ({ by }) => {
    remember(by);
    done(await ask(`v1/silences/${encodeURIComponent(silence.silence_id)}`, { ended_by: by }, { method: "DELETE" }));
  });
}

export function replay(delivery, done) {
  asking("Send this again", `To ${delivery.receiver}, with the same webhook id, so that it can tell that it has it.`, [], "Send again", async () => {
    done((await ask(`v1/deliveries/${encodeURIComponent(delivery.delivery_id)}/replay`, {}, { method: "POST" })).delivery);
  });
}

export const button = (label, onclick, more = {}) => h("button", { type: "button", onclick, ...more }, label);
