"""Sending: transitions reach their receivers, signed, in order, at least once.

- `signing`: Standard Webhooks signatures.
- `guard`: addresses that nobody is sent to unless the configuration allows it.
- `resolver`: addresses of names.
- `wire`: a connection of which only so much is read.
- `exchange`: a request and its answer.
- `client`: one attempt.
- `outcomes`: what came of it.
- `schedule`: when to try again.
- `pace`: how much at a time.
- `receiver_queue`: the attempts for one receiver, apart from all others.
- `dispatcher`: takes what is due from every partition and records what came of it.
"""
