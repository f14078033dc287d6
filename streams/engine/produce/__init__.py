"""Commits the results of a task.

- `writer`: one transaction for the records that a task writes and the offsets of its input.
- `broker_clock`: the broker's time, from the answers to writes.
"""
