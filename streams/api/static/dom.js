// Elements, and how a page is brought up to date without being built anew: what stays the same stays
// in place, with its focus, selection and scroll position. Text is only ever set as text: names of
// campaigns come from outside.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["checked", "disabled", "selected", "hidden", "open"]);
const known = new WeakMap();

// Describes an element. An attribute that is null is left out; `key` tells siblings apart.
export function h(tag, attributes = {}, ...children) {
  const { key = null, ...rest } = attributes;
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return { tag, key, attributes: rest, children: wanted };
}

// A box that scrolls where there is little room, by keyboard as well.
export const scrolling = (label, ...children) => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);

// Text for those who hear a page.
export const heard = (text) => h("span", { class: "heard" }, text);

// Makes the children of a parent what is described.
export function patch(parent, ...children) {
  update(parent, h("", {}, children).children, parent.namespaceURI === SVG);
}

function update(parent, wanted, inSvg) {
  const byKey = new Map();
  for (const node of parent.childNodes) {
    const key = known.get(node)?.key;
    if (key !== null && key !== undefined) byKey.set(key, node);
  }
  const kept = new Set();
  for (const each of wanted) if (byKey.has(each.key)) kept.add(byKey.get(each.key));
  let at = parent.firstChild;
  for (const each of wanted) {
    while (at && !kept.has(at) && isKeyed(at)) at = remove(at);
    let node = reusable(each, byKey, at, kept);
    if (!node) node = make(each, inSvg);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
    kept.delete(node);
    fill(node, each, inSvg);
  }
  while (at) at = remove(at);
}

const isKeyed = (node) => (known.get(node)?.key ?? null) !== null;

function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function reusable(each, byKey, at, kept) {
  if (typeof each !== "object") return at?.nodeType === Node.TEXT_NODE ? at : null;
  if (each.key !== null) {
    const found = byKey.get(each.key);
    return found && known.get(found)?.tag === each.tag ? found : null;
  }
  const is = at && known.get(at);
  return is && is.tag === each.tag && is.key === null && !kept.has(at) ? at : null;
}

function make(each, inSvg) {
  if (typeof each !== "object") return document.createTextNode("");
  const isSvg = inSvg || each.tag === "svg";
  const node = isSvg ? document.createElementNS(SVG, each.tag) : document.createElement(each.tag);
  known.set(node, { tag: each.tag, key: each.key, attributes: {} });
  return node;
}

function fill(node, each, inSvg) {
  if (typeof each !== "object") {
    if (node.data !== String(each)) node.data = String(each);
    return;
  }
  const of = known.get(node);
  for (const [name, value] of Object.entries(each.attributes)) {
    if (of.attributes[name] !== value) set(node, name, value);
  }
  for (const name of Object.keys(of.attributes)) if (!(name in each.attributes)) set(node, name, null);
  of.attributes = each.attributes;
  update(node, each.children, inSvg || each.tag === "svg");
}

function set(node, name, value) {
  if (name.startsWith("on")) node[name] = value;
  else if (name === "value") node.value = node.value === value ? node.value : value ?? "";
  else if (PROPERTIES.has(name)) node[name] = value ?? false;
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
