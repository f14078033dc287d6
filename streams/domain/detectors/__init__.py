"""When counts are a reason to raise an alert, and when that is over.

A kind is one file with one class, its settings beside its logic, and one line in `registry`. The
configuration, the API and the documents take its settings from there.

- `history`: what a detector is shown, the counts of a scope in its windows.
- `detector`: what a detector is asked and answers.
- `accounts`: what a detector says of a scope in figures, for who asks why.
- `settings`: the settings of a detector, from which its section of the configuration is made.
- `proportions`: whether a share is above a level, however often that is asked.
- `windowed`: what detectors that judge window by window have in common.
- `folding`: what detectors that are given the counts of each record have in common.
- `wilson`: a lower bound of a rate, for one look.
- `rows`: rows of numbers, copied as they are.
- `evidence`: how surely counts speak for a rate that has risen, as logarithms of likelihood ratios.
- `baseline`: the usual rates of scopes and their spread, learned when windows close.
- `excursions`: times in which the rate of a scope may have risen, and their evidence.
- `excursion_table`: those of all scopes of a rule.
- `spike_states`: what the detector spike knows of the scopes of a rule, and how counts change it;
  `spike_table`: what it keeps of them; `spike_deciding`: what hits do to an excursion;
  `spike_learning`: what windows teach that close.
- `spike_accounts`: why it fires or does not; `spike_levels`: what it compares windows with, by
  `one_baseline`, which learns for one scope.
- `registry`: the kinds there are, a module each.
"""
