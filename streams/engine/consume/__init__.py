"""From a fetch to a batch.

- `identified`, `log_requests`: fetches by topic id and leader epoch, never from another log.
- `pacing`: fewer and fuller fetches.
- `fetching`, `codecs`, `header_names`: the records of a fetch, decompressed up to a bound.
- `transport`: makes batches of it, so that none is lost or read twice.
- `positions`: up to which offset a partition was read.
- `membership`: whether the worker is certainly in its group.
- `group`: the consumer of the group, for objects that are made before it.
"""
