"""What campaign-streams knows, free of Kafka, HTTP and clocks.

In the order in which an event meets it:

- `windows`: tumbling windows and the policy that opens, closes and expires them.
- `events`: one record's bytes become an event, or a reason why not.
- `campaigns`, `sources`, `tally`: the records of a source partition become counts.
- `blocks`: counts on their way from the keying agent to the counting agent.
- `clock`: the event time of a partition, from the clocks of those that feed it.
- `cells`, `pages`: the counts of one window while they change, and settled.
- `table`: every retained window of one partition, and what of it must be written down.
- `counts`: the counts of one campaign and window as people ask for them, their groups and rates.
- `rules`, `detectors`, `alerts`: when a window is a reason to tell somebody.
- `deliveries`: what is still owed to whom.
"""
