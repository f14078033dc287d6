"""The HTTP API: questions about what the workers hold, answered by any of them.

In the order in which a request meets it:

- `listening`: the sockets, and the URL that others are given.
- `server`: answers, limits, and turns what goes wrong into a problem that names what to do.
- `tls`: the certificate, if it speaks TLS, and how those of other workers are checked.
- `access`: who may ask, a caller (`callers`), by `rate_limits` how often, and by `costs` how much;
  `proxies` says who is on this machine, `peers` who is another worker, `visibility` what a caller
  may see.
- `audit`: writes down who changed what.
- `routing`: finds the route of a path and reads its parameters (`parameters`).
- `routes`: every route there is; `openapi` describes them, `context` is what they know.
- `cluster`: asks the other workers for what is not held here, with `asking` and `client`.
- `campaigns`, `windows`, `periods`, `comparing`, `alerts`, `groups`, `silences`, `names`,
  `deliveries`, `receivers`, `dead_letters`, `operations`, `pages`: the answers; `explain` and
  `baselines` (with `explained_answers`): why rules fire or do not, and what they go by; `reading`,
  `newest` and `delivery_filters` have what they share.
- `rows`: readings of the list of campaigns that onlookers share; `listing` is one, added up from
  `window_sums`, put in order by `ordering`.
- `retained`: which counts of campaigns there are; `stretches` reads their windows and roll-ups and
  keeps what is made of them: `readers` are for windows, periods and, by `history`, for all of them;
  `time_slices`: long work that lets others work.
- `changes`: what has changed since a position, by the commits that `change_logs` follows;
  `campaign_ids` names several campaigns.
- `streaming`: the live stream, of which `stream` is the hub, `stream_events` what it tells,
  `stream_batches` how that is kept for all, `stream_readers` how far each reader is, and
  `stream_outlets` the way to one client.
- `replays`: many deliveries made again.
- `acknowledging`: what people do with alerts; `pagerduty`: what they do with them in PagerDuty.
- `answer`, `answers`, `count_answers`, `detectors`, `problems`, `problem_pages`, `paging`: what
  answers look like.
- `representations`: the form that a client asks for, whether it has it already, and gzip;
  `tabular`: lists as CSV and NDJSON.
"""
