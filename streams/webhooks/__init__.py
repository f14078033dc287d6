"""Sending: transitions reach their receivers, in order, at least once.

`streams.receivers` has what is sent to a receiver of each kind, and what its answers mean.

- `guard`: addresses that nobody is sent to unless the configuration allows it.
- `resolver`: addresses of names.
- `proxy`: the way out, where there is a proxy.
- `wire`: a connection of which only so much is read.
- `exchange`: a request and its answer; `hooks`: who is told of them.
- `client`: one attempt.
- `failures`: what the errors of a connection mean.
- `schedule`: when to try again.
- `pace`: how much at a time.
- `receiver_queue`: the attempts for one receiver, apart from all others.
- `trials`: a test alert to one receiver, with all that is sent and answered.
- `trouble`: tells that a receiver fails, recovers or is disabled.
- `attempt_records`: what is kept of an attempt.
- `resender`: tells receivers again that alerts fire, where they take no news for an end.
- `dispatcher`: takes what is due from every partition and records what came of it.
"""
