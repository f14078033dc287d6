"""The kinds of detectors there are: one line each."""

from streams.domain.detectors.burn_rate import BurnRate
from streams.domain.detectors.count import Count
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.volume import Volume

DETECTORS: tuple[type[Detector], ...] = (
    Spike,  # the rate has risen against the usual one of the scope; of a rule that says no kind
    Threshold,  # the rate is above a level, and not by chance
    BurnRate,  # an objective's allowed failures are used up too fast, for a while and right now
    Volume,  # too few or too many sends, a campaign that stalls, too few delivered
    Count,  # more hits in a window than a number
)
