"""What is printed of the rounds."""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.rounds import Result

MOST_WRONG = 12
LAST_WORDS = 20
"""Lines of each log that are printed when something is wrong."""
ALIKE = 5
"""Of lines that say the same of different things, the last so many are printed."""
LONGEST_LINE = 300
_TROUBLE = re.compile(r"\[(?:warning|error|critical) *\] (?P<event>.*?) {2}| (?P<fault>chaos) ")
HEAD = (
    f"{'round':>5}  {'seed':>8}  {'events':>9}  {'calm s':>6}  {'lost':>6}  {'doubled':>7}  "
    f"{'dead letters':>12}  {'wrong':>5}  {'transitions':>11}  {'wrong':>5}  "
    f"{'results':>9}  {'wrong':>5}  {'webhooks':>8}  {'groups':>6}  {'of':>4}  {'wrong':>5}  "
    f"{'kills':>5}  faults"
)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def line(result: Result) -> str:
    """One line of the table."""
    return (
        f"{result.number:>5}  {result.seed:>8}  {result.events:>9,}  {result.calm_after:>6.1f}  "
        f"{result.difference.lost:>6,}  {result.difference.doubled:>7,}  "
        f"{result.dead_letters:>12,}  {len(result.dead_wrong):>5,}  "
        f"{result.transitions:>11,}  {len(result.alerts_wrong):>5,}  "
        f"{result.results:>9,}  {len(result.results_wrong):>5,}  "
        f"{result.webhooks:>8,}  {result.groups:>6,}  {result.members:>4,}  "
        f"{len(result.webhooks_wrong):>5,}  {result.kills:>5,}  {' + '.join(result.faults)}"
    )


def wrong(result: Result) -> Iterable[str]:
    """What is wrong with a round, not all of it if it is much."""
    yield from result.wrong[:MOST_WRONG]
    if len(result.wrong) > MOST_WRONG:
        yield f"… and {len(result.wrong) - MOST_WRONG} more"


def summary(results: list[Result]) -> Iterable[str]:
    """A table by kind of fault, and the sum of all."""
    yield f"{'fault':<24}  {'rounds':>6}  {'events':>11}  {'calm s':>12}  {'exact':>6}"
    for kind in sorted({fault for result in results for fault in result.faults}):
        those = [result for result in results if kind in result.faults]
        calm = [result.calm_after for result in those]
        exact = sum(result.exact for result in those)
        yield (
            f"{kind:<24}  {len(those):>6}  {sum(r.events for r in those):>11,}  "
            f"{min(calm):>5.1f} {max(calm):>6.1f}  {exact:>6}"
        )
    yield (
        f"{len(results)} rounds, {sum(r.events for r in results):,} events, "
        f"{sum(r.dead_letters for r in results):,} dead letters, "
        f"{sum(r.transitions for r in results):,} transitions, "
        f"{sum(r.results for r in results):,} window results, "
        f"{sum(r.webhooks for r in results):,} webhooks, "
        f"{sum(r.groups for r in results):,} groups of {sum(r.members for r in results):,} alerts, "
        f"{sum(r.silences for r in results):,} silences, "
        f"{sum(r.acknowledgements for r in results):,} acknowledgements, "
        f"{sum(r.kills for r in results):,} times kill -9: "
        f"{sum(r.difference.lost for r in results):,} lost, "
        f"{sum(r.difference.doubled for r in results):,} doubled, "
        f"{sum(len(r.dead_wrong) for r in results):,} dead letters wrong, "
        f"{sum(len(r.alerts_wrong) for r in results):,} transitions wrong, "
        f"{sum(len(r.results_wrong) for r in results):,} window results wrong, "
        f"{sum(len(r.webhooks_wrong) for r in results):,} webhooks wrong, "
        f"{sum(len(r.trouble) for r in results):,} rounds without an end"
    )


def last_words(directory: Path) -> Iterable[str]:
    """What the faults' log and the workers' logs tell of trouble, at their ends."""
    for log in sorted(directory.glob("*.log")):
        yield f"--- {log.name}"
        yield from _troubles(log.read_text(errors="replace").splitlines())


def _troubles(lines: list[str]) -> list[str]:
    alike: Counter[str] = Counter()
    found: list[str] = []
    for each in reversed(lines):
        told = _TROUBLE.search(each)
        if told is None or len(found) == LAST_WORDS:
            continue
        event = told["event"] or each
        alike[event] += 1
        if alike[event] <= ALIKE:
            found.append(each[:LONGEST_LINE])
    return found[::-1]
