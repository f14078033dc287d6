"""What an event costs, and what stays flat: all on one real Apache Kafka.

`python -m benchmarks` (`make bench`) is the comparison; its parts, in the order of a run:

- `events`: the topic's events, and how they must be counted
- `feed`: topics filled with them
- `contenders`: one file a contender; `contenders.registry` lists them, `contenders.child` runs them
- `worker`: ours, watched while it catches up
- `measuring`: CPU time and memory of a group of processes
- `ending`: what a benchmark has started ends with it
- `environment`: what contenders need beside our own dependencies, made once into `.cache/`
- `table`: figures over rounds, as text, Markdown and JSON

Beside it, each a small command: `flat`, `latency` (with `load`), `queries`, `memory`, `workers`,
`slices`, `causes`, `reports`, `incident`, `firing`, `spike`, `backtest`.
docs/benchmarks.md has the method and how to read the tables.
"""
