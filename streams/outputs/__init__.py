"""The topics: which there are, and what a commit writes to those that others read.

- `topics`: what a topic is made with and who may do what there; those that every worker needs.
- `output`: what an output topic is: its topic, its schema, its records of what a commit changed.
- `alerts`: `campaign-alerts`, the transitions of alerts.
- `windows`: `campaign-windows`, the results of closed windows.
- `registry`: all of them. A further output topic is a module here and a line there.
"""
