// The description of the API as a page, from openapi.json.

import { ask } from "./client.js";
import { h, patch } from "./dom.js";

const page = document.getElementById("docs");

patch(page, h("p", { class: "soft" }, "Loading…"));
try {
  show(await ask("openapi.json"));
} catch (error) {
  patch(page, h("p", { class: "card notice bad" }, error.message));
}

function show(api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  patch(page,
    h("div", { class: "head" }, h("h1", {}, api.info.title), h("span", { class: "soft" }, api.info.version)),
    h("p", {}, prose(api.info.description)),
    h("p", { class: "soft" }, prose(api.components.securitySchemes.token.description)),
    api.tags.map(({ name, description }) => h("section", { class: "card" },
      h("h2", {}, title(name), h("span", { class: "aside soft" }, prose(description))),
      operations.filter((each) => each.operation.tags.includes(name)).map(operationBox))),
    h("h2", {}, "Answers"),
    h("section", { class: "card" }, Object.entries(api.components.schemas).map(schemaBox)));
}

function title(name) {
  return name[0].toUpperCase() + name.slice(1);
}

// Words between backquotes are code.
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));
}

function operationBox({ path, method, operation }) {
  return h("details", { class: "operation" },
    h("summary", {}, h("span", { class: `method ${method}` }, method.toUpperCase()),
      h("code", {}, path), h("span", { class: "soft" }, `  ${operation.summary}`)),
    h("div", { class: "body" },
      operation.description ? h("p", {}, prose(operation.description)) : null,
      operation.parameters.length ? parameters(operation.parameters) : null,
      responses(operation.responses),
      method === "get" && !path.includes("{") ? h("p", {}, h("a", { href: path.slice(1) || "./" }, "Try it")) : null));
}

function parameters(list) {
  return h("table", {},
    h("tbody", {}, list.map((each) => h("tr", {},
      h("th", { scope: "row" }, h("code", {}, each.name), each.required ? "" : h("span", { class: "soft" }, " optional")),
      h("td", {}, prose(each.description), " ", h("span", { class: "soft" }, typeOf(each.schema)))))));
}

function responses(all) {
  return h("p", {}, "Answers: ", Object.entries(all).flatMap(([status, response]) => [
    h("code", {}, status), " ", contentOf(response.content), " "]));
}

// Some answers have no content, such as 304.
function contentOf(content = {}) {
  return Object.entries(content).map(([type, { schema }], at) => [
    at ? ", " : "", schema?.$ref ? link(schema.$ref) : h("span", { class: "soft" }, type)]);
}

function link(reference) {
  const name = reference.split("/").pop();
  return h("a", { href: `#${name}`, onclick: () => { document.getElementById(name).open = true; } }, name);
}

function schemaBox([name, schema]) {
  const fields = Object.entries(schema.properties ?? {});
  return h("details", { class: "operation", id: name },
    h("summary", {}, h("code", {}, name)),
    h("div", { class: "body" }, h("p", {}, prose(schema.description ?? "")),
      h("table", {}, h("tbody", {}, fields.map(([field, of]) => h("tr", {},
        h("th", { scope: "row" }, h("code", {}, field)), h("td", {}, described(of))))))));
}

function described(schema) {
  if (schema.$ref) return link(schema.$ref);
  if (schema.items?.$ref) return h("span", {}, "list of ", link(schema.items.$ref));
  const reference = schema.anyOf?.find((each) => each.$ref);
  if (reference) return h("span", {}, link(reference.$ref), " or null");
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
