"""Chaos: real Kafka, several workers, a stream of events, one fault a round, an independent count.

In the order of a round:

- `plan`: which faults come in which round.
- `traffic`: the stream of events.
- `faults`: what is done to the system, at a random moment.
- `system`, `kafka`, `link`: the system: a broker, workers, and a link between each of them and it.
- `operators`: somebody who acknowledges alerts meanwhile.
- `following`: reads topics on from where it stood.
- `truth`: counts the source topic independently.
- `cells`, `asking`, `dead`, `alerts`, `webhooks`: what the system says, compared with that.
- `rounds`: one round; `report`: what is printed.

`python -m tests.chaos --help` runs it.
"""
