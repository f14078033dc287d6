// The description of the API as a page, from openapi.json.

import { ask } from "./client.js";
import { el } from "./dom.js";

const page = document.getElementById("docs");

try {
  show(await ask("openapi.json"));
} catch (error) {
  page.replaceChildren(el("p", { class: "card notice bad" }, error.message));
}

function show(api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationBox(api, path, method, operation)));
  page.replaceChildren(
    el("div", { class: "head" }, el("h1", {}, api.info.title), el("span", { class: "soft" }, api.info.version)),
    el("p", {}, prose(api.info.description)),
    el("p", { class: "soft" }, prose(api.components.securitySchemes.token.description)),
    el("section", { class: "card" }, operations),
    el("h2", {}, "Answers"),
    el("section", { class: "card" }, Object.entries(api.components.schemas).map(schemaBox)));
}

// Words between backquotes are code.
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

function operationBox(api, path, method, operation) {
  return el("details", { class: "operation" },
    el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()),
      el("code", {}, path), el("span", { class: "soft" }, `  ${operation.summary}`)),
    el("div", { class: "body" },
      operation.description ? el("p", {}, prose(operation.description)) : null,
      operation.parameters.length ? parameters(operation.parameters) : null,
      responses(operation.responses),
      method === "get" && !path.includes("{") ? el("p", {}, el("a", { href: path.slice(1) || "./" }, "Try it")) : null));
}

function parameters(list) {
  return el("table", {},
    el("tbody", {}, list.map((each) => el("tr", {},
      el("th", { scope: "row" }, el("code", {}, each.name), each.required ? "" : el("span", { class: "soft" }, " optional")),
      el("td", {}, prose(each.description), " ", el("span", { class: "soft" }, typeOf(each.schema)))))));
}

function responses(all) {
  return el("p", {}, "Answers: ", Object.entries(all).flatMap(([status, response]) => [
    el("code", {}, status), " ", contentOf(response.content), " "]));
}

function contentOf(content) {
  const [[type, { schema }]] = Object.entries(content);
  return schema ? link(schema.$ref) : el("span", { class: "soft" }, type);
}

function link(reference) {
  const name = reference.split("/").pop();
  return el("a", { href: `#${name}`, onclick: () => { document.getElementById(name).open = true; } }, name);
}

function schemaBox([name, schema]) {
  const fields = Object.entries(schema.properties ?? {});
  return el("details", { class: "operation", id: name },
    el("summary", {}, el("code", {}, name)),
    el("div", { class: "body" }, el("p", {}, prose(schema.description ?? "")),
      el("table", {}, el("tbody", {}, fields.map(([field, of]) => el("tr", {},
        el("th", { scope: "row" }, el("code", {}, field)), el("td", {}, described(of))))))));
}

function described(schema) {
  if (schema.$ref) return link(schema.$ref);
  if (schema.items?.$ref) return el("span", {}, "list of ", link(schema.items.$ref));
  const reference = schema.anyOf?.find((each) => each.$ref);
  if (reference) return el("span", {}, link(reference.$ref), " or null");
  return typeOf(schema);
}

function typeOf(schema) {
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  if (schema.type === "object") return `object of ${typeOf(schema.additionalProperties ?? {})}`;
  const bounds = "minimum" in schema && "maximum" in schema ? `, ${schema.minimum} to ${schema.maximum}` : "";
  const example = schema.examples ? `, such as ${schema.examples.join(" or ")}` : "";
  return `${schema.type ?? "anything"}${bounds}${example}`;
}
