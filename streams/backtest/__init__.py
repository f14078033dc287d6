"""What rules would have said: arrivals through the code of a worker, in the time of the arrivals.

From arrivals to transitions:

- `task`: one task as a worker has it, but for Kafka: it commits at every interval of its clock.
- `arrivals`: what arrivals of any kind have in common on their way through it.
- `counted_lines`: a file of counts, a JSON object a line.
- `counted`: such lines become partial counts, and transitions, also for a program that has no
  file of them.
- `event_times`: how far event time is with each line, and which are too late or too far ahead.
- `line_columns`: lines as arrays: what they name and count, by number.
- `line_commits`: which of them are committed when, and which are kept until later.
- `line_hits`: the hits in them that are folded meanwhile.
- `kept_lines`: those whose counts the windows do not have yet; lines as counts of windows.
- `recorded`: recorded events, as `campaign-streams produce` reads them.
- `topic`: the events of the source topic, from a time on.
- `events`: events become partial counts, and transitions.

From transitions to what people ask:

- `episodes`: the alerts that the transitions are of, and a summary of each rule.
- `comparison`: the difference between two configurations.
- `labels`, `scoring`: which incidents were found, how soon, and which alerts were false.
- `rule_tests`, `series`: tests of rules as files, and the short notation of their input;
  `rule_test_runs`: runs them.
"""
