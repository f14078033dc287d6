"""Dead letters: records that could not be counted, with the reason.

- `letter`: the form of one.
- `listing`: what is in the topic, and why.
- `replay`: sent through again.
"""
