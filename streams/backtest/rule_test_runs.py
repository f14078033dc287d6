"""Runs tests of rules, and says how what was seen differs from what was expected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.counted import transitions_of
from streams.backtest.counted_lines import CountedLine
from streams.backtest.events import EventArrivals
from streams.backtest.recorded import RecordedEvents
from streams.backtest.rule_tests import START, Case, ExpectedSettings, InputSettings
from streams.backtest.task import Decided
from streams.domain.formats.pinpoint import UNCLEAR_DELIVERIES
from streams.errors import UserError
from streams.settings import format_duration

_PREFIX = "campaign.alert."


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a test.

    Attributes:
        case: the test.
        differences: one line each: what was expected and not seen, and what was seen and not
            expected; none if it passed.
    """

    case: Case
    differences: Sequence[str]


def run_case(case: Case, settings: BacktestSettings) -> CaseResult:
    """Run one test.

    Raises:
        UserError: its file of events cannot be read.
    """
    of_events = case.settings.input[0].events is not None
    start, decided = _of_events(case, settings) if of_events else _of_counts(case, settings)
    return CaseResult(case, list(_differences(case, start, decided)))


# What arrives


def _of_counts(case: Case, settings: BacktestSettings) -> tuple[int, list[Decided]]:
    start = _start(case)
    if start is None:
        start = round(datetime.fromisoformat(START).replace(tzinfo=UTC).timestamp() * 1000)
    lines = merge(*(_lines(each, start) for each in case.settings.input), key=lambda each: each.at)
    return start, list(transitions_of(lines, settings, name=case.place, until=start + _until(case)))


def _lines(series: InputSettings, start: int) -> Iterator[CountedLine]:
    """Yield a line for each step in which anything arrives."""
    channel = series.channel
    if channel is None and series.delivery_type not in UNCLEAR_DELIVERIES:
        channel = series.delivery_type
    dimensions = series.treatment, series.delivery_type, channel
    for step in range(series.steps):
        counts = [
            (status, *dimensions, values[step] or 0)
            for status, values in series.counts.items()
            if step < len(values) and values[step]
        ]
        if counts:
            at = start + round((series.from_ + step * series.every) * 1000)
            event_time = at - round(series.late_by * 1000)
            yield CountedLine(at, series.campaign or "", counts, series.app, event_time)


def _of_events(case: Case, settings: BacktestSettings) -> tuple[int, list[Decided]]:
    arrivals, recorded = EventArrivals(settings), RecordedEvents()
    decided: list[Decided] = []
    for each in case.settings.input:
        file = case.folder / (each.events or Path())
        try:
            with file.open("rb") as stream:
                for block in recorded.read(str(file), stream):
                    decided += arrivals.add(block)
        except OSError as error:
            raise UserError(f"{case.place}: cannot read {file}: {error.strerror}") from error
    for reason, place in recorded.problems_at.items():
        raise UserError(f"{case.place}: {place}: {reason}")
    start = _start(case)
    if start is None:
        start = arrivals.seen.first_at or 0
    decided += arrivals.finish(start + _until(case))
    return start, decided


def _start(case: Case) -> int | None:
    return None if case.settings.start is None else round(case.settings.start * 1000)


def _until(case: Case) -> int:
    """Return how long (ms) time goes on: as long as anything is expected."""
    expected = [each.at + each.within for each in case.settings.expect]
    return round(max([case.settings.until, *expected]) * 1000)


# What is seen


def _differences(case: Case, start: int, decided: Sequence[Decided]) -> Iterator[str]:
    left = list(decided)
    for expected in case.settings.expect:
        met = next((each for each in left if _meets(each, expected, start)), None)
        if met is not None:
            left.remove(met)
        else:
            yield f"expected  {_wanted(expected)}"
    for each in left:
        yield f"seen      {_seen(each, start)}"


def _meets(decided: Decided, expected: ExpectedSettings, start: int) -> bool:
    data = decided.transition.data
    return (
        abs((decided.at - start) / 1000 - expected.at) <= expected.within
        and decided.transition.type == _PREFIX + expected.type
        and data.rule == expected.rule
        and expected.campaign in {None, data.campaign_id}
        and expected.treatment in {None, data.treatment_id}
        and expected.channel in {None, data.channel_type}
    )


def _wanted(expected: ExpectedSettings) -> str:
    scope = [expected.campaign, expected.treatment, expected.channel]
    about = " ".join([expected.rule, *(each for each in scope if each is not None)])
    within = f"(within {format_duration(expected.within)})"
    return f"{_time(expected.at)} {expected.type} {about} {within}"


def _seen(decided: Decided, start: int) -> str:
    data, kind = decided.transition.data, decided.transition.type.removeprefix(_PREFIX)
    scope = [data.campaign_id, data.treatment_id, data.channel_type]
    about = " ".join([data.rule, *(each for each in scope if each is not None)])
    return f"{_time((decided.at - start) / 1000)} {kind} {about}: {data.summary}"


def _time(seconds: float) -> str:
    """Write a time of the test: `1h2m3.4s`."""
    minutes, left = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [(hours, "h"), (minutes, "m")]
    text = "".join(f"{count}{unit}" for count, unit in parts if count)
    return f"{text}{round(left, 3):g}s" if left or not text else text
