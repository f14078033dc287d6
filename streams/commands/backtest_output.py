"""Transitions, and what they come to, for people and for programs."""

from typing import Any

import click
import msgspec

from streams.backtest.arrivals import Arrivals
from streams.backtest.comparison import Comparison
from streams.backtest.episodes import Episodes
from streams.backtest.recorded import RecordedEvents
from streams.backtest.scoring import Outcome, Score
from streams.backtest.task import Decided
from streams.commands.common import print_error, say
from streams.commands.tables import Column, print_table
from streams.domain.transitions import rfc3339
from streams.settings import format_duration
from streams.terminal import printable_json

_PREFIX = "campaign.alert."
MOST_STATUSES = 5
"""Unknown statuses that are named."""


def print_transition(decided: Decided, *, ndjson: bool) -> None:
    """Print a transition: a line of JSON with all of its data, or one for people."""
    at, transition = decided
    if ndjson:
        _print_json({"at": at, "type": transition.type, "data": transition.data})
        return
    kind = transition.type.removeprefix(_PREFIX).upper()
    data = transition.data
    say(f"{rfc3339(at / 1000)}  {kind:<8}  {data.severity:<8}  {data.summary}")


def print_summary(episodes: Episodes, arrivals: Arrivals[Any], *, err: bool) -> None:
    """Print what each rule said, and of how much."""
    titles = ("rule", "alerts", "campaigns", "resolved", "expired", "still firing", "lasted")
    rows = []
    rules = [rule.name for rule in arrivals.settings.partition.rules]
    for each in episodes.by_rule(rules):
        counts = each.alerts, each.campaigns, each.resolved, each.expired, each.firing
        lasted = "" if each.median_s is None else f"{format_duration(round(each.median_s, 1))}"
        rows.append([each.rule, *counts, lasted])
    print_table(_columns(titles), rows, err=err)
    seen = arrivals.seen
    if seen.first_at is not None:
        say(
            f"{seen.arrivals:,} arrivals from {rfc3339(seen.first_at / 1000)} to "
            f"{rfc3339(seen.last_at / 1000)}, {arrivals.campaign_days:,.2f} campaign-days; "
            "lasted: the median of the alerts that ended",
            err=err,
        )
    else:
        print_error("warning: nothing arrived, so the rules had nothing to say")


def print_problems(recorded: RecordedEvents) -> None:
    """Say what was recorded and is no event, by the reason, and whether files were in disorder."""
    for reason, count in recorded.problems.most_common():
        print_error(f"{count:,} left out, {reason}: the first at {recorded.problems_at[reason]}")
    if recorded.disordered:
        print_error(
            f"warning: {_count(recorded.disordered, 'event')} arrived long before the one ahead: "
            "name files in the order of their arrival"
        )


def print_warnings(arrivals: Arrivals[Any]) -> None:
    """Say what a worker would not count, and which statuses are in no group."""
    seen, groups = arrivals.seen, arrivals.settings.partition.groups
    for reason, sends in sorted(seen.rejected.items()):
        print_error(
            f"warning: {sends:,} not counted, {reason}: the first at {seen.rejected_at[reason]}"
        )
    by_sends = sorted(seen.unrecognised.items(), key=lambda each: (-each[1], each[0]))
    for status, sends in by_sends[:MOST_STATUSES]:
        near = groups.nearest(status)
        hint = f", did you mean {near}?" if near else ""
        print_error(f"warning: {sends:,} sends with status {status}, which is in no group{hint}")
    more = len(seen.unrecognised) - MOST_STATUSES
    if more > 0:
        print_error(f"warning: and {more:,} more statuses that are in no group")


def print_comparison(found: Comparison, against: str, *, ndjson: bool) -> None:
    """Print what changes from another configuration, `against`, to this one."""
    changes = sorted(
        [*(("gone", each) for each in found.gone), *(("new", each) for each in found.new)],
        key=lambda change: change[1].fired_at,
    )
    for change, episode in changes:
        if ndjson:
            _print_json(
                {
                    "change": change,
                    "at": episode.fired_at,
                    "type": "campaign.alert.firing",
                    "data": episode.first,
                }
            )
        else:
            first = episode.first
            at = rfc3339(episode.fired_at / 1000)
            say(f"{at}  {change.upper():<4}  {first.severity:<8}  {first.summary}")
    earlier = [before.fired_at - after.fired_at for before, after in found.kept]
    moved = [
        f"{sum(each > 0 for each in earlier):,} earlier",
        f"{sum(each < 0 for each in earlier):,} later",
    ]
    say(
        f"against {against}: {_count(len(found.gone), 'alert')} would be gone, "
        f"{len(found.new):,} new, {len(found.kept):,} stay ({', '.join(moved)})",
        err=ndjson,
    )


def print_score(score: Score, *, err: bool) -> None:
    """Print how well the rules found what is labelled, in all and by kind."""
    titles = ("incidents", "labelled", "found", "masked", "detect, median", "p90")
    kinds = sorted({each.label.kind for each in score.outcomes})
    rows = [
        _outcomes(kind, [each for each in score.outcomes if each.label.kind == kind])
        for kind in kinds
    ]
    rows.append(_outcomes("all", score.outcomes))
    print_table(_columns(titles), rows, err=err)
    recall, precision = score.recall, score.precision
    a_day = score.false_alarms_a_day
    parts = [
        f"recall {recall:.3f}" if recall is not None else "no incidents",
        f"precision {precision:.3f}" if precision is not None else "no alerts",
        f"{_count(len(score.false_alarms), 'false alarm')}"
        + (f", {a_day:.3f} per campaign and day" if a_day is not None else ""),
    ]
    say("; ".join(parts), err=err)
    if score.left_out:
        say(f"{_count(score.left_out, 'label')} left out: of other times", err=err)


def _outcomes(name: str, outcomes: list[Outcome]) -> list[object]:
    part = Score(outcomes, [], 0, 0.0, 0)
    delays = part.delays_s
    return [
        *(name, len(outcomes), part.found, part.masked),
        *(("", "") if delays is None else (f"{delay:,.1f} s" for delay in delays)),
    ]


def _columns(titles: tuple[str, ...]) -> list[Column]:
    return [Column(title, at and 1, 12) for at, title in enumerate(titles)]


def _print_json(value: object) -> None:
    click.echo(printable_json(msgspec.json.encode(value).decode()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
