"""From a fetch to a batch.

- `identified`, `log_requests`: fetches by topic id and leader epoch: none is of another log.
- `pacing`: fetches that bring enough.
- `fetching`, `codecs`, `header_names`: what a fetch brings, unpacked up to a bound.
- `transport`: makes batches of it, so that none is lost or read twice.
- `positions`: how far a partition was read.
- `group`: the consumer of the group, for those who are made before it.
"""
