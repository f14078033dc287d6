// Asks the API. A problem's detail says what to do.

const PATIENCE = 30_000;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function address(path, parameters = {}) {
  const url = new URL(path, document.baseURI);
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  url.search = new URLSearchParams(given).toString();
  // fetch refuses a URL with the token that this page was opened with; the browser sends it anyway.
  url.username = url.password = "";
  return url;
}

async function answer(path, parameters, options) {
  try {
    return await fetch(address(path, parameters), { ...options, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Problem(0, "The worker does not answer. Is it running? Trying again.");
  }
}

async function problem(response) {
  if (response.status === 401) return new Problem(401, "The token was refused. Load this page anew to give another one.");
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, body.detail ?? response.statusText);
}

export async function ask(path, parameters = {}, options = {}) {
  const response = await answer(path, parameters, {
    headers: { Accept: "application/json", ...(options.body ? { "Content-Type": "application/json" } : {}) },
    method: options.method ?? "GET",
    body: options.body ? JSON.stringify(options.body) : undefined,
  });
  if (!response.ok) throw await problem(response);
  return response.json().catch(() => ({}));
}

export async function text(path) {
  const response = await answer(path, {}, {});
  if (!response.ok) throw await problem(response);
  return response.text();
}

// Browsers take these two for directions, however they are encoded.
export const cannotAsk = (id) => id === "." || id === "..";
export const campaignPath = (id) => `v1/campaigns/${encodeURIComponent(id)}`;
