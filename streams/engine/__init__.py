"""The Kafka and Faust edge.

In the order in which a record meets it:

- `app`: the Faust app; its agents hand whole batches to the lanes.
- `identified`, `log_requests`: fetches by topic id and leader epoch: none is of another log.
- `pacing`: fetches that bring enough.
- `fetching`, `codecs`, `header_names`: what a fetch brings, unpacked up to a bound.
- `transport`: makes batches of it, so that none is lost or read twice.
- `assignor`: gives whole lanes to workers.
- `lanes`, `opening`, `recovery`: the lanes of a worker, through rebalances and failures.
- `logs`: where a partition is read on when its log is another one, or not what it was.
- `lane`, `job`: what one lane does with what it reads, and what every lane does alike.
- `progress`, `unwritten`, `records`: how far it is, what it has yet to write, and in which form.
- `isolation`: input that cannot be processed is found, and kept apart from the rest.
- `writer`: one transaction for all that a lane writes, and the offsets of what it read.
- `hanging`, `transaction_admin`, `transaction_requests`: transactions that hang in a partition.
- `broker_clock`: the broker's time, from the answers to writes.

Around it:

- `client`, `msk`, `broken_connections`: connections to the brokers.
- `cancelling`: tasks that end when they are cancelled, whatever aiokafka does.
- `topics`, `limits`, `rights`: topics, how large a record of them may be, and who may write it.
- `surroundings`, `lag`: what a worker waits for, and how far behind it is.
- `dead_letters`, `replay`: dead letters, listed and sent through again.
"""
