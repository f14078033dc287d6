"""What many alerts have in common: one cause, the same labels, that they are beyond a rate limit.

A cause is the slice of all campaigns that explains what they have in excess.

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
- `group_names`: what alerts are grouped under.
- `handover`: a lane's alerts that wait or are told of in groups, as they are kept and written.
- `lane`, `labelled`, `overflow`: by cause, by labels, beyond a rate limit: which of them are told
  by themselves, and which are handed over to a teller. `lane_groups` puts these together.
- `records`: what a teller has decided.
- `teller`: finds the causes of a rule, and tells receivers of groups.
- `notices`: what it says of them.
"""
