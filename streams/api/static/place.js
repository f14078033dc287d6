// Where the reader is: everything that a view shows follows from the page's URL, so that it can be
// shared. `#/campaign/summer-sale?range=6h` is the view `campaign`, its id, and its settings.

export const RANGES = { "15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400, "7d": 604_800 };
const RANGE_NAMES = { "15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days" };
export const rangeName = (range) => RANGE_NAMES[range];

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function here() {
  const [path, query = ""] = splitOnce(window.location.hash.replace(/^#\/?/, ""), "?");
  const [view, id = null] = splitOnce(path, "/");
  const settings = Object.fromEntries(new URLSearchParams(query));
  if (!(settings.range in RANGES)) settings.range = "15m";
  return { view: view || "overview", id: id === null ? null : decoded(id), settings };
}

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

export function link(view, id = null, settings = {}) {
  const kept = Object.entries(settings).filter(([name, value]) => value && !(name === "range" && value === "15m"));
  const query = new URLSearchParams(kept).toString();
  const path = view === "overview" ? "" : view + (id === null ? "" : `/${encodeURIComponent(id)}`);
  return `#/${path}${query ? `?${query}` : ""}`;
}

// Changes settings of the present view; a step back undoes it, unless it replaces.
export function change(settings, { replace = false } = {}) {
  const now = here();
  const url = link(now.view, now.id, { ...now.settings, ...settings });
  if (replace) window.history.replaceState(null, "", url);
  else window.history.pushState(null, "", url);
  window.dispatchEvent(new Event("placechange"));
}
