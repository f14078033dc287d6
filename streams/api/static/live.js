// The live stream: tells handlers of what changes, and whether the worker is there.

import { address } from "./client.js";

const AGAIN = 2_000;
const HIDDEN = 10_000;
const KINDS = ["window", "alert", "delivery", "health", "missed"];

// Follows the stream with a query. `handlers` has a function for each kind of event, `opened` and
// `lost`. Whatever opens it again goes on from the last event: the browser after a broken
// connection, another query, a page that is looked at again. Browsers have few connections to one
// server, so a page that nobody sees holds none.
export function follow(query, handlers) {
  let source = null;
  let timer = null;
  let last = null;

  function open() {
    close();
    source = new EventSource(address("v1/stream", { ...query, since: last }));
    source.onopen = () => handlers.opened?.();
    source.onerror = () => {
      handlers.lost?.();
      // A refusal ends it for good: then it is opened anew.
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId || last;
        handlers[kind]?.(JSON.parse(event.data));
      });
    }
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function seen() {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, HIDDEN);
    else if (!source) open();
  }

  document.addEventListener("visibilitychange", seen);
  open();
  return {
    ask(other) {
      if (JSON.stringify(other) === JSON.stringify(query)) return;
      query = other;
      if (source) open();
    },
    close() {
      document.removeEventListener("visibilitychange", seen);
      close();
    },
  };
}
