"""What receivers are told once, whichever workers have to do with it.

Each lane, a partition of campaigns, says on the groups topic how something is with it; one lane,
the teller of that thing, puts together what all lanes say, and decides in its own transaction.

- `lane_records`: what one lane says.
- `silence_notices`: that a silence ends that keeps alerts from a receiver.
- `receiver_trouble`: that a receiver fails, takes webhooks again, or is disabled.
- `events`: both, for one partition.
"""
