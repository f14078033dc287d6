// Asks the API. A problem's detail says what to do.

const PATIENCE = 10_000;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function ask(path, parameters = {}) {
  const url = new URL(path, document.baseURI);
  url.search = new URLSearchParams(parameters).toString();
  // fetch refuses a URL with the token that this page was opened with; the browser sends it anyway.
  url.username = url.password = "";
  let response;
  try {
    response = await fetch(url, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Problem(0, "The worker does not answer. Is it running? Trying again.");
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) {
    throw new Problem(401, "The token was refused. Load this page anew to give another one.");
  }
  if (!response.ok) throw new Problem(response.status, body.detail ?? response.statusText);
  return body;
}

// Browsers take these two for directions, however they are encoded.
export const cannotAsk = (id) => id === "." || id === "..";

export const campaignPath = (id) => `v1/campaigns/${encodeURIComponent(id)}`;
