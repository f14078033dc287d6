"""Kinds of receivers: the settings of each, the request that notifies it, its answers.

A kind is one file with one class, and one line in `registry`. The configuration takes its keys from
there (with their hints, environment variables and `…_file`), `streams.webhooks` sends what it
renders.

- `receiver`: what all kinds have in common.
- `grouped`: what kinds have in common that can be told of alerts with a common cause as one.
- `outcomes`: what an answer means, unless a kind knows better.
- `signing`: signatures of Standard Webhooks.
- `registry`: the kinds there are, a module each.
"""
