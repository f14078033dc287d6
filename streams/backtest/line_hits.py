"""The hits in lines: what rules whose detectors fold have to be told of them, commit by commit."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.backtest.line_columns import NO_APP, Integers, LineColumns, Vocabulary
from streams.domain.rule_folds import CampaignHits
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


def hits_by_commit(
    lines: LineColumns,
    vocabulary: Vocabulary,
    breaching: Sequence[NDArray[np.bool_]],
    size_ms: int,
    attempts_before: Callable[[Integers], Integers],
) -> Iterator[CommitHits]:
    """Yield the hits of each commit that has any, in the order of time.

    Args:
        lines: of whole commits.
        vocabulary: what they name and count.
        breaching: for each rule, by the number of a campaign, whether its attempts without hits are
            to be told as well.
        size_ms: of a window (ms).
        attempts_before: returns the attempts that campaigns have in open windows before the lines.
    """
    rules = range(vocabulary.rules)
    are_told = np.zeros(len(lines), np.bool_)
    for hits, is_breaching in zip(vocabulary.hits(lines), breaching, strict=True):
        are_told |= (hits > 0) | is_breaching[lines.campaigns]
    if not are_told.any():
        return
    numbers, ends = lines.numbered_commits()
    concerned = _of_same_campaigns(lines, are_told)
    runs = _runs(lines.at(concerned), numbers[concerned], vocabulary, size_ms)
    before = attempts_before(runs.campaigns)
    of_commits: dict[int, list[list[CampaignHits]]] = {}
    for rule in rules:
        is_told = runs.hits[rule] > 0
        is_told |= breaching[rule][runs.campaigns] & (runs.attempts > 0)
        told = np.flatnonzero(is_told)
        for commit, campaign in _of_rule(runs, rule, told, before, vocabulary, size_ms):
            of_commit = of_commits.get(commit)
            if of_commit is None:
                of_commit = of_commits[commit] = [[] for _ in rules]
            of_commit[rule].append(campaign)
    for commit in sorted(of_commits):
        yield CommitHits(ends[commit], of_commits[commit])


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
    in_order = (lines.campaigns * many_commits + commits) * many_windows + (windows - oldest)
    order = in_order.argsort(kind="stable")
    keys, lines = in_order[order], lines.at(order)
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = keys[1:] != keys[:-1]
    (first,) = is_first.nonzero()
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


def _of_rule(  # noqa: PLR0913, PLR0917 - what lines say, to whom, in which words
    runs: _Runs, rule: int, at: Integers, before: Integers, vocabulary: Vocabulary, size_ms: int
) -> Iterator[tuple[int, CampaignHits]]:
    """Yield what one rule is told of each commit and campaign: the sum of runs at these positions.

    Those are the windows with hits or, of a campaign with a breach, with attempts.
    """
    names, apps = vocabulary.campaign_names, vocabulary.app_names
    columns = (
        runs.commits[at],
        runs.campaigns[at],
        runs.attempts[at],
        runs.hits[rule][at],
        runs.windows[at] * size_ms // 1000,
        runs.apps[at],
        before[at] + runs.up_to[at],
    )
    waiting: tuple[int, CampaignHits] | None = None
    for commit, campaign, attempts, hits, start, app, in_open_windows in zip(
        *[column.tolist() for column in columns], strict=True
    ):
        added = Added(names[campaign], attempts, hits, start, apps[app])
        if waiting is not None:
            if waiting[0] == commit and waiting[1].added.key == added.key:
                added = waiting[1].added.with_newer(added)
            else:
                yield waiting
        waiting = commit, CampaignHits(added, in_open_windows)
    if waiting is not None:
        yield waiting
