"""campaign-streams: alerts within a second when the sending of a campaign breaks.

The way of an event, top to bottom:

1. `streams.engine`: Faust agents take whole batches of records from Kafka.
2. `streams.domain.events`, `sources`: bytes become counts, or a dead letter.
3. `streams.domain.pre_aggregator`, `partial_counts`: counts go to the partition of their campaign.
4. `streams.domain.table`: tumbling windows of counts, written to the changelog topic once closed.
5. `streams.domain.rules`, `detectors`, `alerts`: open windows become alert transitions.
6. `streams.domain.notification`, `deliveries`: transitions become deliveries in the outbox.
7. `streams.webhooks`, `streams.receivers`: deliveries are rendered for their receivers, and sent.
8. `streams.api`: questions about all of it, over HTTP.

Around it: `streams.outputs` (the topics, and what others read there), `streams.configuration` and
`streams.settings` (the kinds of value that its keys have), `streams.commands` (one file a command),
`streams.traffic` (recorded and simulated events), `streams.backtest` (what rules would have said of
recorded ones), `streams.demo` (the whole system on one machine),
`streams.observability`. `streams.worker` is the one place that puts the parts together.
"""
