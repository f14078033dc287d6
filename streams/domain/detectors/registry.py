"""The kinds of detectors there are: one line each."""

from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold

DETECTORS: tuple[type[Detector], ...] = (
    Spike,  # the rate has risen against the usual one of the scope; of a rule that says no kind
    Threshold,  # the rate is above a level, and not by chance
    Count,  # more hits in a window than a number
)
