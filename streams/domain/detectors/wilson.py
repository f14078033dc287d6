"""Wilson's lower bound of a proportion.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
American Statistical Association 22 (1927).
"""

from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


def lower_bound(hits: int, attempts: int, confidence: float) -> float:
    """Return the lower end of the one-sided Wilson score interval; 0 without attempts."""
    if attempts == 0:
        return 0.0
    z = _z(confidence)
    rate = hits / attempts
    spread = z * sqrt(rate * (1 - rate) / attempts + z * z / (4 * attempts * attempts))
    return max(0.0, (rate + z * z / (2 * attempts) - spread) / (1 + z * z / attempts))


def lower_bounds(
    hits: NDArray[np.int64], attempts: NDArray[np.int64], confidence: float
) -> NDArray[np.float64]:
    """Return the same for each of several counts of at least 1 attempt."""
    z = _z(confidence)
    n = attempts.astype(np.float64)
    rate = hits / n
    spread = z * np.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    bounds: NDArray[np.float64] = np.maximum(
        0.0, (rate + z * z / (2.0 * n) - spread) / (1.0 + z * z / n)
    )
    return bounds


@cache
def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)
