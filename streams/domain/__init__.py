"""What campaign-streams knows, free of Kafka, HTTP and clocks.

In the order in which an event meets it:

- `windows`: tumbling windows and the policy that opens, closes and expires them.
- `events`: one record's bytes become counts, or a reason why not.
- `blocks`: counts on their way from the keying agent to the counting agent.
- `clock`: the event time of a partition, from the clocks of those that feed it.
- `counts`: the counts of one campaign and window, their groups and rates.
- `table`: every retained window of one partition, and what of it must be written down.
- `rules`, `detectors`, `alerts`: when a window is a reason to tell somebody.
- `deliveries`: what is still owed to whom.
"""
