"""One cause of many alerts: which slice of all campaigns explains what they have in excess.

A lane says how its campaigns' sends compare with what is usual, healthy campaigns included, in a
summary of bounded size. Summaries of all lanes, merged, name the causes; each lane tells from them
which of its own alerts belong to which cause.

- `evidence`: how well one campaign's sends in a cell fit with a common cause.
- `summary`: the sums of a lane by cell, their bound, and how they are merged.
- `finding`: the causes that merged sums show.
- `membership`: whether an alert belongs to a cause, or has a fault of its own.
- `book`: causes over time: each has one id, grows, shrinks and ends once.
- `lane_sums`: the sums of a lane, worked out from its windows.
- `exchange`: what lanes and tellers tell each other, and a view of it.
- `lane`: alerts that wait, are told by themselves, or are handed over to the teller.
- `teller`: finds the causes of a rule, and tells receivers of groups.
"""
