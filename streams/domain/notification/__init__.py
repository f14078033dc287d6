"""From a transition to the outbox: route → enqueue.

A notification goes through the stages in turn. Each lets it pass, as it is or to fewer receivers,
or suppresses it, with a named reason. A stage is one file and one line in `pipeline`.

- `stage`: what a stage takes and what it decides.
- `route`: who is notified.
- `enqueue`: a delivery for each of them in the outbox.
- `pipeline`: the stages, in their order.
"""
