"""How well one campaign's sends in a cell fit with a common cause.

A cell is a combination of app, channel and delivery type. In a cell with usual rate b, a cause lets
a share r of the sends fail that would not have failed as usual. Of k hits among n attempts, the
logarithm of the likelihood ratio of that to nothing at all is

    G(r) = k ln(1 + r (1 - b) / b) + (n - k) ln(1 - r)

Three things keep sums of it over campaigns honest:

- A campaign may be broken by itself, at odds of exp(-`OWN_FAULT`). So what a cause explains, which
  has r in common, is held against what any r explains, less `OWN_FAULT`: ln(1 + exp(max G -
  `OWN_FAULT`)) is taken off. What is left is at most `OWN_FAULT`, however many sends fail: a single
  campaign can never look like a common cause, and one that r does not fit speaks against it.
- A healthy cell speaks against the cause by `OWN_FAULT` at most, so that a cause that spares some
  campaigns is found. A slice has evidence only if it explains about half of the campaigns in it.
- Rates vary from minute to minute more than a binomial does, so a cell has the weight of
  `MOST_ATTEMPTS` attempts at most. By cell, as a few sends by another channel tell a fault of the
  app from one of the channel that most of its sends use.

r need not be exactly the same: it is in one of a few `BANDS`, which overlap.
"""

from collections.abc import Iterable, Mapping
from math import exp, log, log1p
from typing import NamedTuple, TypeAlias

from streams.domain.slices import PRIOR_ATTEMPTS

OWN_FAULT = 6.0
"""Logarithm of the odds against a campaign being broken by itself, just now. It is 1 in 400."""
MOST_ATTEMPTS = 50.0
"""Attempts in a cell of a campaign that have full weight together; with more, each has less."""
SHARES_LOST = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.995)
"""The values of r that are tried."""
BANDS = ((0, 5), (2, 7), (4, 10), (6, 14))
"""By band, the first of its values of r, and the one past the last: .05 to .2, .1 to .4, .2 to .7
and .4 to .995."""
MILLI = 1000
"""Sums are of whole thousandths (of nats, of hits), so that they are the same in any order."""

_NO_HITS = tuple(log1p(-share) for share in SHARES_LOST)

Place: TypeAlias = tuple[str | None, str | None]
"""A channel and a delivery type: where a send of a campaign is counted."""
Bands: TypeAlias = tuple[int, int, int, int]
"""Evidence by band, in thousandths of a nat."""


class Sends(NamedTuple):
    """Attempts, and hits among them by status."""

    attempts: int
    hits: Mapping[str, int]

    @property
    def all_hits(self) -> int:
        """Hits of any status."""
        return sum(self.hits.values())


NO_SENDS = Sends(0, {})


class CampaignSends(NamedTuple):
    """What a campaign has sent since the start of a frame, and before.

    Attributes:
        campaign_id: names it.
        app_id: its app; null if unknown.
        seen: by place, since the frame began.
        usual: by place, before that. A place may be missing on either side.
    """

    campaign_id: str
    app_id: str | None
    seen: Mapping[Place, Sends]
    usual: Mapping[Place, Sends]


class PlaceEvidence(NamedTuple):
    """What a campaign's sends in one place say.

    Attributes:
        seen: the sends.
        expected: hits that would be usual, of as many attempts.
        expected_by_status: the same by status, of the statuses that were seen or are usual.
        evidence: by band, for a common cause.
        own: evidence for any fault at all, of the campaign or in common: max G, in nats.
        unlike: evidence that the share of hits is greater than in the usual sends, if what is usual
            is known from these alone: nats.
    """

    seen: Sends
    expected: float
    expected_by_status: Mapping[str, float]
    evidence: Bands
    own: float
    unlike: float


def evidence_of(campaign: CampaignSends) -> dict[Place, PlaceEvidence]:
    """Return what the sends of a campaign say, by place.

    The places that are broken share what one campaign can say for a cause.
    """
    campaign_rate = _rate(campaign.usual.values())
    found: dict[Place, tuple[float, list[float]]] = {}
    for place, sends in campaign.seen.items():
        if sends.attempts > 0:
            usual = campaign.usual.get(place, NO_SENDS)
            known = PRIOR_ATTEMPTS + usual.attempts
            rate = (usual.all_hits + PRIOR_ATTEMPTS * campaign_rate) / known
            found[place] = rate, _gains(sends.attempts, sends.all_hits, rate)
    broken = {place: min(OWN_FAULT, max(0.0, *gains)) for place, (_, gains) in found.items()}
    share = min(1.0, OWN_FAULT / (sum(broken.values()) or OWN_FAULT))
    return {
        place: _evidence(campaign, place, rate, gains, share * broken[place])
        for place, (rate, gains) in found.items()
    }


def _rate(usual: Iterable[Sends]) -> float:
    attempts = hits = 0
    for sends in usual:
        attempts += sends.attempts
        hits += sends.all_hits
    return (1.0 + hits) / (PRIOR_ATTEMPTS + attempts)


def _evidence(
    campaign: CampaignSends, place: Place, rate: float, gains: list[float], most: float
) -> PlaceEvidence:
    """Return what the sends in a place say, `most` (nats) for a cause at most."""
    seen, usual = campaign.seen[place], campaign.usual.get(place, NO_SENDS)
    own = max(0.0, *gains)
    # ln(1 + exp(x)), for x that may be large.
    beyond = own - OWN_FAULT
    taken_off = max(beyond, 0.0) + log1p(exp(-abs(beyond)))
    bands = [max(gains[first:end]) - taken_off for first, end in BANDS]
    clipped = [round(MILLI * max(-OWN_FAULT, min(most, gain))) for gain in bands]
    expected = seen.attempts * rate
    return PlaceEvidence(
        seen,
        expected,
        _expected_by_status(seen, usual, expected),
        (clipped[0], clipped[1], clipped[2], clipped[3]),
        own,
        _unlike(seen, rate, PRIOR_ATTEMPTS + usual.attempts),
    )


def _unlike(seen: Sends, rate: float, known: float) -> float:
    """Return the logarithm of the likelihood ratio of two rates and of one for both; never below 0.

    The usual rate was seen in `known` attempts.
    """
    weight = min(1.0, MOST_ATTEMPTS / seen.attempts)
    attempts, hits = weight * seen.attempts, weight * seen.all_hits
    if hits <= rate * attempts:
        return 0.0
    both = (hits + rate * known) / (attempts + known)
    return (
        _log_likelihood(hits, attempts, hits / attempts)
        + _log_likelihood(rate * known, known, rate)
        - _log_likelihood(hits + rate * known, attempts + known, both)
    )


def _log_likelihood(hits: float, attempts: float, rate: float) -> float:
    misses = attempts - hits
    return hits * log(rate) + (misses * log1p(-rate) if misses > 0 else 0.0)


def _gains(attempts: int, hits: int, rate: float) -> list[float]:
    """Return G by `SHARES_LOST`."""
    weight = min(1.0, MOST_ATTEMPTS / attempts)
    others = weight * (attempts - hits)
    if not hits:
        return [others * no_hits for no_hits in _NO_HITS]
    odds, weighted = (1.0 - rate) / rate, weight * hits
    return [
        weighted * log1p(share * odds) + others * no_hits
        for share, no_hits in zip(SHARES_LOST, _NO_HITS, strict=True)
    ]


def _expected_by_status(seen: Sends, usual: Sends, expected: float) -> dict[str, float]:
    """Split the expected hits as usual hits are split, with one more for each status seen."""
    names = seen.hits.keys() | usual.hits.keys()
    of_all = usual.all_hits + len(names)
    return {name: expected * (usual.hits.get(name, 0) + 1) / of_all for name in sorted(names)}
