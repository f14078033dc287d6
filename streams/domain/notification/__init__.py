"""From a transition to the outbox, through the notification stages.

A notification goes through the stages in turn. Each lets it pass, as it is or to fewer receivers,
or suppresses it, with a named reason. A stage is one file and one line in `pipeline`.

- `stage`: what a stage takes and what it decides.
- `pipeline`: the stages, a module each, in their order.
- `rate_limit`: how many notifications a receiver gets in a time.
- `grouping`: when receivers are told of alerts that belong together, and of what.
"""
