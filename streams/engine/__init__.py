"""The Kafka and Faust edge.

`app` is the Faust app: its agents hand whole batches to the stream tasks. `health` says whether
these do their work. `protocol` declares requests that aiokafka does not have. The rooms, in the
order in which a record meets them:

- `consume`: fetches become batches, none of them lost or read twice.
- `tasks`: co-assigned partitions, their state and one transactional id, through rebalances and
  failures.
- `dead_letters`: records that could not be counted: their form, a list, a replay.
- `produce`: one transaction for the records that a task writes and the offsets of its input.
- `transactions`: hanging transactions, found and resolved.
- `global_state`: what every worker reads whole.
- `cluster`: connections to the brokers, topics, rights, consumer lag.

Each room imports those below it alone.
"""
