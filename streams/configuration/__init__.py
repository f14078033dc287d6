"""What the operator says: command line, environment, file and defaults become one `Configuration`.

The kinds of value that a key can have (durations, servers, topic names, …) are in
`streams.settings`.

- `kinds`: sections of one of several kinds, each with keys of its own
- `detectors`: the section `detector` of a rule, made from what the detectors say of themselves
- `kafka`, `counting`, `alerting`, `http`, `models`: the keys, their defaults and their checks
- `routes`: where alerts go, as far as the configuration says it
- `texts`: templates of receivers, checked against sample alerts
- `tree`: values on their way to validation, each with the place where it was written
- `strict_yaml`: YAML files without the traps of YAML 1.1
- `schema`: which keys there are
- `problems`: one line per mistake
- `load`: joins the sources
"""
