"""The hits in lines: what rules whose detectors fold have to be told of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.backtest.line_columns import NO_APP, Integers, LineColumns, Vocabulary
from streams.domain.arrays import are_new, stable_order
from streams.domain.fold_records import CampaignHits, HitSeries, KeptCount
from streams.domain.scope_sums import Added


class CommitHits(NamedTuple):
    """The hits of one commit.

    Attributes:
        end: position after the last of its lines.
        of_rules: for each rule, what it has of campaigns with hits.
    """

    end: int
    of_rules: list[list[CampaignHits]]


class _Runs(NamedTuple):
    """Lines of one campaign, commit and window together: a position of each array for such a run.

    They are in the order of campaigns, then of commits, then of windows.

    Attributes:
        campaigns: by number.
        commits: by number, from 0 on.
        windows: by their position among all windows since the epoch.
        apps: by number: that of the newest line that names one.
        attempts: in all its lines.
        up_to: those of the campaign in all lines up to the end of the commit.
        hits: for each rule, in all its lines.
    """

    campaigns: Integers
    commits: Integers
    windows: Integers
    apps: Integers
    attempts: Integers
    up_to: Integers
    hits: list[Integers]


class LineHits:
    """The hits in lines, and what rules whose detectors fold have to be told with them.

    Args:
        lines: of whole commits.
        vocabulary: what they name and count.
        breaching: for each rule, by the number of a campaign, whether its attempts without hits are
            to be told as well.
        size_ms: of a window (ms).
        attempts_before: returns the attempts that campaigns have in open windows before the lines.
        kept: yields the counts that windows do not have yet of a campaign, by number, with the
            lines up to the end of a commit.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what lines say, to whom, in which words
        self,
        lines: LineColumns,
        vocabulary: Vocabulary,
        breaching: Sequence[NDArray[np.bool_]],
        size_ms: int,
        attempts_before: Callable[[Integers], Integers],
        kept: Callable[[int, int], Iterable[KeptCount]],
    ) -> None:
        self._lines = lines
        self._vocabulary = vocabulary
        self._kept = kept
        are_told = np.zeros(len(lines), np.bool_)
        for hits, is_breaching in zip(vocabulary.hits(lines), breaching, strict=True):
            are_told |= (hits > 0) | is_breaching[lines.campaigns]
        self._rules: list[_RuleHits] = []
        if are_told.any():
            numbers, ends = lines.numbered_commits()
            self._ends = np.array(ends)
            concerned = _of_same_campaigns(lines, are_told)
            runs = _runs(lines.at(concerned), numbers[concerned], vocabulary, size_ms)
            before = attempts_before(runs.campaigns)
            self._rules = [
                _of_rule(runs, rule, is_breaching, before, size_ms)
                for rule, is_breaching in enumerate(breaching)
            ]

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._rules)

    def series(self) -> list[HitSeries]:
        """Return what each rule has to be told."""
        return [self._series(rule) for rule in self._rules]

    def _series(self, hits: "_RuleHits") -> HitSeries:
        names, app_names = self._vocabulary.campaign_names, self._vocabulary.app_names
        (first,) = are_new(hits.campaigns).nonzero()
        lengths = np.append(first[1:], len(hits.campaigns)) - first
        last_lines = self._ends[hits.commits] - 1

        def kept(row: int) -> Iterable[KeptCount]:
            return self._kept(hits.campaigns.item(row), last_lines.item(row) + 1)

        return HitSeries(
            [names[number] for number in hits.campaigns[first].tolist()],
            [app_names[number] for number in hits.apps[first].tolist()],
            first,
            lengths,
            self._lines.newest[last_lines],
            self._lines.commits[last_lines],
            hits.attempts,
            hits.hits,
            hits.starts,
            hits.in_open_windows,
            kept,
        )

    def by_commit(self) -> Iterator[CommitHits]:
        """Yield the hits of each commit that has any, in the order of time."""
        names, app_names = self._vocabulary.campaign_names, self._vocabulary.app_names
        of_commits: dict[int, list[list[CampaignHits]]] = {}
        for number, rule in enumerate(self._rules):
            rows = zip(*[column.tolist() for column in rule], strict=True)
            for commit, campaign, attempts, hits, start, app, in_open_windows in rows:
                of_commit = of_commits.get(commit)
                if of_commit is None:
                    of_commit = of_commits[commit] = [[] for _ in self._rules]
                added = Added(names[campaign], attempts, hits, start, app_names[app])
                of_commit[number].append(CampaignHits(added, in_open_windows))
        for commit in sorted(of_commits):
            yield CommitHits(self._ends.item(commit), of_commits[commit])


def _of_same_campaigns(lines: LineColumns, which: NDArray[np.bool_]) -> Integers:
    """Return the positions of all lines of the campaigns that these are of."""
    is_concerned = np.zeros(int(lines.campaigns.max()) + 1, np.bool_)
    is_concerned[lines.campaigns[which]] = True
    return np.flatnonzero(is_concerned[lines.campaigns])


def _runs(lines: LineColumns, commits: Integers, vocabulary: Vocabulary, size_ms: int) -> _Runs:
    """Put lines of these commits, by number, together."""
    windows = lines.times // size_ms
    oldest = windows.min()
    many_windows, many_commits = windows.max() - oldest + 1, commits.max() + 1
    times = commits * many_windows + windows - oldest
    by_time = stable_order(times)
    order = by_time[stable_order(lines.campaigns[by_time])]
    lines = lines.at(order)
    keys = lines.campaigns * many_commits * many_windows + times[order]
    (first,) = are_new(keys).nonzero()
    of_campaigns_and_commits, of_windows = np.divmod(keys[first], many_windows)
    campaigns, of_commits = np.divmod(of_campaigns_and_commits, many_commits)
    attempts = vocabulary.attempts(lines)
    before = np.concatenate(([0], attempts.cumsum()))
    campaign_begins = keys.searchsorted(campaigns * many_commits * many_windows)
    commit_ends = keys.searchsorted((of_campaigns_and_commits + 1) * many_windows)
    names_app = np.where(lines.apps != NO_APP, np.arange(len(keys)), -1)
    newest_with_app = np.maximum.reduceat(names_app, first)
    return _Runs(
        campaigns,
        of_commits,
        of_windows + oldest,
        np.where(newest_with_app >= first, lines.apps[newest_with_app], NO_APP),
        np.add.reduceat(attempts, first),
        before[commit_ends] - before[campaign_begins],
        [np.add.reduceat(hits, first) for hits in vocabulary.hits(lines)],
    )


class _RuleHits(NamedTuple):
    """What one rule is told of campaigns: a position of each array for one of them and a commit.

    They are in the order of campaigns, then of commits.

    Attributes:
        commits: by number.
        campaigns: by number.
        attempts: in the windows with hits or, of a campaign with a breach, with attempts.
        hits: of these.
        starts: start (s) of the newest of these windows.
        apps: by number: the first that any of these windows names.
        in_open_windows: attempts of the campaign in open windows, up to the end of the commit.
    """

    commits: Integers
    campaigns: Integers
    attempts: Integers
    hits: Integers
    starts: Integers
    apps: Integers
    in_open_windows: Integers


def _of_rule(
    runs: _Runs, rule: int, is_breaching: NDArray[np.bool_], before: Integers, size_ms: int
) -> _RuleHits:
    """Return what one rule is told.

    Args:
        runs: the lines.
        rule: by number.
        is_breaching: by the number of a campaign.
        before: for each run, the attempts of its campaign in open windows before the lines.
        size_ms: of a window (ms).
    """
    hits = runs.hits[rule]
    told = np.flatnonzero((hits > 0) | (is_breaching[runs.campaigns] & (runs.attempts > 0)))
    commits, campaigns = runs.commits[told], runs.campaigns[told]
    (first,) = are_new(commits, campaigns).nonzero()
    if not len(first):
        return _RuleHits(*[first] * len(_RuleHits._fields))
    newest = told[np.append(first[1:], len(told)) - 1]
    return _RuleHits(
        commits[first],
        campaigns[first],
        np.add.reduceat(runs.attempts[told], first),
        np.add.reduceat(hits[told], first),
        runs.windows[newest] * size_ms // 1000,
        _first_apps(runs.apps[told], first),
        before[newest] + runs.up_to[newest],
    )


def _first_apps(apps: Integers, first: Integers) -> Integers:
    """Return the first app of each group of positions that begins at these, or `NO_APP`."""
    positions = np.where(apps != NO_APP, np.arange(len(apps)), len(apps))
    found = np.minimum.reduceat(positions, first)
    return np.append(apps, NO_APP)[found]
