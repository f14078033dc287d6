"""Silences and maintenance windows: which alerts nobody is notified of, and when.

- `patterns`: regular expressions that are matched in linear time.
- `matchers`: the labels of an alert, and what a silence asks of them.
- `recurrence`: hours of the day and week, in a time zone.
- `silence`: one silence, its checks, when it is active, and its record on the silences topic.
- `book`: all silences that a worker knows, and which of them silence an alert.
- `notices`: what receivers are told before a silence ends.
"""
