"""Why an excursion of `spike` fires, or why not: what `spike_deciding` goes by, in figures."""

from msgspec.structs import replace

from streams.domain.detectors.accounts import Account, Requirement
from streams.domain.detectors.baseline import DECIMALS, NEWCOMER_LIMIT, Hypotheses
from streams.domain.detectors.excursions import (
    BESIDE_CLUMP,
    CLUMP,
    Excursion,
    Judge,
    lower_bound,
)
from streams.domain.detectors.folding import Increment, Pending
from streams.domain.detectors.spike_states import SpikeStates

RECORD_MS = 100
"""Milliseconds between two records at least, as tasks commit them."""
MOST_RECORDS = 150
"""With so many records of hits alone it is tried out how many would be a breach."""


def account_of(states: SpikeStates, place: int, pending: Pending) -> Account:
    """Return how a scope stands at this moment."""
    excursion = _up_to_now(states, place, pending)
    known, notes = _known(states, place), _notes(states, place, excursion)
    usual_rate, _ = states.table.null(place)
    if excursion is None:
        requirements = (_evidence(states, place, 0.0),)
        missing = hits_missing(states, place, pending)
        return Account(0, 0, None, usual_rate, requirements, missing, known, notes)
    judge = states.excursions.judge(place, excursion)
    figures = {
        **known,
        **states.figures(place).others,
        "attempts_weighed": excursion.stretch_attempts,
        "evidence": round(judge.evidence_of(excursion), DECIMALS),
    }
    return Account(
        excursion.attempts,
        excursion.hits,
        excursion.since,
        excursion.rate,
        _requirements(states, place, excursion, judge, pending.at),
        0 if excursion.live is not None else hits_missing(states, place, pending),
        figures,
        notes,
    )


def _known(states: SpikeStates, place: int) -> dict[str, float]:
    """Return what is known of a scope, whether it has an excursion or not."""
    row, (rate, weight) = states.table.row(place), states.table.null(place)
    is_newcomer, rise = states.excursions.is_newcomer(place), states.settings.rise
    found = Hypotheses.of(rate, weight, rise.of_newcomers if is_newcomer else rise)
    known = {
        "usual_attempts": states.table.usual_attempts(place),
        "dispersion": row["dispersion"],
        "tolerated_rate": found.tolerated,
        "limit_rate": found.limit,
        "null_weight": weight,
        "evidence_needed": states.table.needed(place),
        "slow_evidence": row["slow"],
        "slow_windows": row["slow_windows"],
    }
    return {name: round(value, DECIMALS) for name, value in known.items()}


def _up_to_now(states: SpikeStates, place: int, pending: Pending) -> Excursion | None:
    """Return a copy of the excursion, with attempts up to now; null if the next hit would end it.

    What fires has all of them already.
    """
    excursion = states.excursion(place)
    if excursion is None or excursion.live is not None:
        return excursion
    excursion = replace(excursion)
    excursion.add_attempts(pending.unseen)
    is_old = excursion.has_gap_before(pending.at)
    judge = states.excursions.judge(place, excursion)
    return None if is_old or not judge.exceeds(excursion, 0.0) else excursion


def _evidence(states: SpikeStates, place: int, value: float) -> Requirement:
    needed = states.table.needed(place)
    text = f"the evidence is {value:.1f} of {needed:.1f} nats"
    return Requirement(
        "evidence", text, round(value, DECIMALS), round(needed, DECIMALS), value >= needed
    )


def _requirements(
    states: SpikeStates, place: int, excursion: Excursion, judge: Judge, now: int
) -> tuple[Requirement, ...]:
    limit, lowest = judge.found.limit, lower_bound(excursion)
    at = max(excursion.last, now - excursion.since)
    lost, patience = excursion.lost_seconds(at), states.settings.patience
    is_sure = states.table.is_sure(place)
    beside = judge.beside_clump(excursion, is_sure=is_sure)
    return (
        _evidence(states, place, judge.evidence_of(excursion)),
        Requirement(
            "rate",
            f"the rate is certainly {lowest:.1%}, and above {limit:.1%} it is worth an alert",
            round(lowest, DECIMALS),
            round(limit, DECIMALS),
            lowest > limit,
        ),
        Requirement(
            "patience",
            f"it has lasted {at / 1_000:.0f} of {patience:g} s, or cost {lost:.1f} of "
            f"{states.settings.lost:g} s of sends",
            round(lost, DECIMALS),
            round(states.settings.lost, DECIMALS),
            lost >= states.settings.lost or at >= 1_000 * patience,
        ),
        Requirement(
            "beside-clump",
            f"the evidence is {beside:.1f} of {BESIDE_CLUMP} nats without the {CLUMP // 1_000} "
            "seconds with most hits",
            round(beside, DECIMALS),
            BESIDE_CLUMP,
            not judge.is_of_one_clump(excursion, is_sure=is_sure),
        ),
    )


def _notes(states: SpikeStates, place: int, excursion: Excursion | None) -> tuple[str, ...]:
    notes = []
    row = states.table.row(place)
    if states.excursions.is_newcomer(place):
        notes.append(
            f"it is not known yet what is usual: a rate up to {NEWCOMER_LIMIT:.0%} is no news"
        )
    if excursion is not None and excursion.live is not None and excursion.live.is_slow:
        notes.append("it fires by the evidence of whole windows in a row")
    if row["skipped"]:
        notes.append(
            f"the newest {row['skipped']} windows were not learned: they may be an incident"
        )
    return tuple(notes)


def hits_missing(states: SpikeStates, place: int, pending: Pending) -> int | None:
    """Return how many hits in a row from now on would fire; null if `MOST_RECORDS` do not.

    It is tried out with a copy of the scope's state. Where sends come faster than records do, as
    many as a record has are one too many at most.
    """
    trial = SpikeStates(states.settings)
    trial.read([0], states.write([place]))
    attempts, hits = pending.so_far
    each = -(-RECORD_MS // pending.interval)
    tried = 0

    def so_far(_: int) -> tuple[int, int]:
        return attempts + tried, hits + tried

    for record in range(MOST_RECORDS):
        tried += each
        at, unseen = pending.at + tried * pending.interval, 0 if record else pending.unseen
        turns = trial.add(0, Increment(at, each, each, unseen, so_far), pending.hold)
        if any(turn.begins for turn in turns):
            return tried
    return None
