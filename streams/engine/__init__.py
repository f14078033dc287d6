"""The Kafka and Faust edge.

- `app`: the Faust app; its agents hand whole batches to the lanes.
- `fetching`, `transport`: make batches of fetches, so that none is lost or read twice.
- `assignor`: gives whole lanes to workers.
- `lanes`, `opening`, `recovery`: the lanes of a worker, through rebalances and failures.
- `lane`, `job`, `records`: what one lane does with what it reads, and the form of what it writes.
- `writer`: one transaction for all that a lane writes, and the offsets of what it read.
- `topics`, `client`, `lag`: around it.
"""
