"""Dead letters: records that could not be counted, with the reason.

- `letter`: a rejected record as a record of the dead-letter topic.
- `listing`: which dead letters the topic holds, and which of them a replay sends.
- `newest`: the last ones, for who looks at the worker's health.
- `replay`: sends them to their source topics again, each at most once.
"""
