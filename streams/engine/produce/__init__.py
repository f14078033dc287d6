"""From what a task has to write to a commit.

- `writer`: one transaction for all that a task writes, and the offsets of what it read.
- `broker_clock`: the broker's time, from the answers to writes.
"""
