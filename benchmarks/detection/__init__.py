"""How well detectors tell incidents from usual traffic: labelled traffic, and scores.

- `traffic`: labelled campaign-days, second by second, from a seed.
- `scoring`: alerts held against the labels: recall, precision, false alarms, times.
"""
