"""When counts are a reason to raise an alert, and when that is over.

- `history`: what a detector is shown, the counts of a scope in its windows.
- `detector`: what a detector is asked and answers.
- `settings`: the settings of a detector, from which its section of the configuration is made.
- `windowed`: what detectors that judge window by window have in common.

One module for each kind of detector:

- `threshold`: the rate is above a level, and not by chance.
- `count`: more hits in a window than a number.
"""

from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.threshold import Threshold

DETECTORS: tuple[type[Detector], ...] = (Threshold, Count)
"""All kinds of detectors; the first one is the default."""
