"""The Kafka and Faust edge.

`app` is the Faust app: its agents hand whole batches to the stream tasks. `health` says whether
these do their work. `protocol` declares requests that aiokafka does not have. The rooms, in the
order in which a record meets them:

- `consume`: fetches become batches, none of them lost or read twice.
- `tasks`: what is counted together, its state and its one transactional id, through rebalances and
  failures.
- `dead_letters`: what could not be counted: its form, listed, sent through again.
- `produce`: one transaction for all that a task writes, and the offsets of what it read.
- `transactions`: hanging transactions, found and resolved.
- `cluster`: connections to the brokers, topics, rights, consumer lag.

Each room imports those below it alone.
"""
