"""Treatments, channels or delivery types of a campaign compared, with what is certain of it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import OF_COMPARING, narrow_range
from streams.api.count_answers import (
    ComparedDifference,
    ComparedGroup,
    ComparedStatus,
    Comparison,
    Group,
    Window,
)
from streams.api.parameters import FIRST_MS, choice, moment, text
from streams.api.problems import refuse
from streams.api.reading import DIMENSIONS
from streams.api.representations import Rows
from streams.api.routing import Route, split_target
from streams.api.windows import BY as WINDOWS_BY
from streams.api.windows import CAMPAIGN_ID, STEP, TO, windows
from streams.domain.counts import Dimension
from streams.domain.group_comparison import (
    CONFIDENCE,
    Difference,
    Series,
    difference,
    error_of_each,
)
from streams.domain.windows import UTC, WindowPolicy

MOST_GROUPS = 10
"""That are compared; the ones with fewest attempts are left out."""
MOST_STEPS = 256
"""A longer time has longer steps, or the answer would take too long."""

BY = choice("by", DIMENSIONS, "What is compared; treatment_id without it.")
FROM = moment(
    "from",
    f"Windows that end after this time; without it, the last {MOST_STEPS} windows before `to`.",
)
STATUS = choice(
    "status", ("failure", "throttled"), "The rate that is compared; failure without it."
)
REFERENCE = text(
    "reference",
    "The group that the others are compared with, empty for sends that have no value; the one with "
    "most attempts without it.",
)


async def compare(context: Context, ask: Ask) -> Comparison:
    """Answer with how much worse each group is than the reference."""
    by: Dimension = next(each for each in DIMENSIONS if each == ask.get(BY, "treatment_id"))
    status: ComparedStatus = "throttled" if ask.get(STATUS, "") == "throttled" else "failure"
    of_windows, step = _of_windows(context, ask, by)
    answer = await windows(context, of_windows)
    counts, attempts = _counts(answer.windows, by, status)
    largest = sorted(attempts, key=lambda value: (-attempts[value], value is not None, value or ""))
    shown = largest[:MOST_GROUPS]
    reference = _reference(ask, largest)
    if shown and reference not in shown:
        shown[-1] = reference
    compared = sum(len(counts[value]) for value in shown)
    ask.budget.spend(OF_COMPARING * compared, lambda: narrow_range(OF_COMPARING))
    series = {value: Series.of(counts[value]) for value in shown}
    return Comparison(
        as_of=answer.as_of,
        partial=answer.partial,
        missing_partitions=answer.missing_partitions,
        campaign_id=answer.campaign_id,
        campaign_name=answer.campaign_name,
        by=by,
        status=status,
        step_seconds=step,
        complete_from=answer.complete_from,
        confidence=CONFIDENCE,
        groups=[await _group(series, value, reference) for value in shown],
        left_out=len(largest) - len(shown),
    )


def _of_windows(context: Context, ask: Ask, by: Dimension) -> tuple[Ask, int]:
    """Return the request for the windows that are compared, and how long (s) they are merged to.

    That is the window size, or twice that, and so on.
    """
    policy = context.settings.windows
    now = round(context.now() * 1000)
    until = ask.get(TO, None)
    end = now if until is None else min(now, until)
    begin = max(FIRST_MS, ask.get(FROM, end - policy.size * MOST_STEPS * 1000))
    step, oldest = _shortest_step(policy, begin, now)
    while end - max(begin, oldest) > step * MOST_STEPS * 1000:
        step *= 2
    query: dict[str, Any] = {FROM.name: begin, STEP.name: step, WINDOWS_BY.name: (by,)}
    if until is not None:
        query[TO.name] = until
    path = split_target(ask.target).path.removesuffix("/compare")
    target = f"{path}/windows?{urlencode({**query, WINDOWS_BY.name: by})}"
    return replace(ask, target=target, query=query), step


def _shortest_step(policy: WindowPolicy, begin: int, now: int) -> tuple[int, int]:
    """Return the shortest step (s) of windows that reach back to a time (ms), and how far they do.

    Days of a time zone are no steps: they are not equally long.
    """
    step, oldest = policy.size, now - policy.retention * 1000
    for rollup in policy.rollups:
        if begin >= oldest or rollup.step.time_zone != UTC:
            break
        step, oldest = rollup.step.seconds, now - rollup.retention * 1000
    return step, oldest


def _counts(
    found: Iterable[Window], by: Dimension, status: ComparedStatus
) -> tuple[dict[str | None, list[tuple[int, int, int]]], dict[str | None, int]]:
    """Return the counts of each group by window, and the attempts of each."""
    counts: dict[str | None, list[tuple[int, int, int]]] = {}
    attempts: dict[str | None, int] = {}
    for number, each in enumerate(found):
        for group in each.groups or ():
            if group.attempts:
                value = getattr(group, by)
                counts.setdefault(value, []).append((number, group.attempts, _hits(group, status)))
                attempts[value] = attempts.get(value, 0) + group.attempts
    return counts, attempts


def _hits(group: Group, status: ComparedStatus) -> int:
    return round(group.attempts * (getattr(group.rates, status) or 0.0))


def _reference(ask: Ask, largest: list[str | None]) -> str | None:
    if REFERENCE.name not in ask.query:
        return largest[0] if largest else None
    wanted = ask.query[REFERENCE.name]
    if wanted in largest:
        return str(wanted)
    if wanted or None not in largest:
        known = ", ".join(repr(each or "") for each in largest[:MOST_GROUPS]) or "none"
        refuse(
            f"reference={wanted[:200]}: it has no attempts in this time; those that have: {known}"
        )
    return None


async def _group(
    series: Mapping[str | None, Series], value: str | None, reference: str | None
) -> ComparedGroup:
    ours = series[value]
    # Each takes some hundredths of a second, and more with many windows.
    rate = await asyncio.to_thread(lambda: ours.likelihood.interval(1.0 - CONFIDENCE))
    is_reference = value == reference
    found = None
    if not is_reference:
        error = error_of_each(len(series))
        found = await asyncio.to_thread(difference, ours, series[reference], error)
    return ComparedGroup(
        value=value,
        is_reference=is_reference,
        attempts=int(ours.attempts.sum()),
        hits=int(ours.hits.sum()),
        rate=ours.rate,
        rate_low=min(rate.low, ours.rate),
        rate_high=max(rate.high, ours.rate),
        windows=len(ours.starts),
        difference=None if found is None else _difference(found),
    )


def _difference(found: Difference) -> ComparedDifference:
    low, high = found.interval
    return ComparedDifference(
        verdict=found.verdict, difference=found.value, low=low, high=high, windows=found.windows
    )


ROUTES = (
    Route(
        "/v1/campaigns/{campaign_id}/compare",
        compare,
        "Treatments, channels or delivery types of a campaign compared",
        Comparison,
        (CAMPAIGN_ID, BY, STATUS, REFERENCE, FROM, TO),
        rows=Rows("groups", ComparedGroup),
        for_some=True,
        has_cost=True,
    ),
)
