"""Kinds of receivers: the settings of each, the request that notifies it, its answers.

A kind is one file with one class, and one line in `registry`. The configuration takes its keys from
there (with their hints, environment variables and `…_file`), `streams.webhooks` lends it the way
out.

- `receiver`: what all kinds have in common.
- `grouped`: what kinds have in common that can be told of alerts with a common cause as one.
- `outcomes`: what an answer means, unless a kind knows better.
- `email_message`: what a mail says; `email_silence`: one about a silence that ends;
  `smtp_dialogue`: what is said to its server, without secrets.
- `pagerduty_webhooks`: what PagerDuty tells, and its signatures.
- `slack_api`: the calls of a bot of Slack, and what their answers mean.
- `signing`: signatures of Standard Webhooks.
- `texts`: title and text for people, for the kinds that have them; `templates`: what operators may
  put in their place.
- `samples`: alerts that templates are checked against, and test alerts.
- `masking`: keeps the secrets of a receiver out of what is shown of its requests.
- `registry`: the kinds there are, a module each.
"""
