"""The kinds of detectors there are: one line each."""

from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.threshold import Threshold

DETECTORS: tuple[type[Detector], ...] = (
    Threshold,  # the rate is above a level, and not by chance; of a rule that does not say its kind
    Count,  # more hits in a window than a number
)
