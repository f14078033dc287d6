"""The hits in lines: what rules whose detectors fold have to be told of them, commit by commit."""

from collections.abc import Callable, Iterator
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
    """Lines of one campaign, one commit and one window, one of each array for such a run.

    Attributes:
        campaigns: by number.
        commits: by number, from 0 on.
        starts: of the windows (s), oldest first within a commit.
        apps: that the newest line names.
        attempts: in all its lines.
        so_far: those of the campaign with this commit, in all lines.
        hits: of each rule.
    """

    campaigns: Integers
    commits: Integers
    starts: Integers
    apps: Integers
    attempts: Integers
    so_far: Integers
    hits: list[Integers]


def hits_by_commit(
    lines: LineColumns,
    vocabulary: Vocabulary,
    size_ms: int,
    attempts_before: Callable[[Integers], Integers],
) -> Iterator[CommitHits]:
    """Yield the hits of each commit that has any, in the order of time.

    Args:
        lines: of whole commits.
        vocabulary: what they name and count.
        size_ms: of a window (ms).
        attempts_before: returns the attempts that campaigns have in open windows before the lines.
    """
    hits = vocabulary.hits(lines)
    has_hits = np.logical_or.reduce(hits) if hits else np.zeros(len(lines), np.bool_)
    if not has_hits.any():
        return
    commits, ends = _numbered(lines.commits)
    runs = _runs(lines, commits, hits, _of_same_campaigns(lines, has_hits), vocabulary, size_ms)
    before = attempts_before(runs.campaigns)
    of_commits: dict[int, list[list[CampaignHits]]] = {}
    for rule in range(len(hits)):
        for commit, campaign in _of_rule(runs, rule, before, vocabulary):
            of_commit = of_commits.get(commit)
            if of_commit is None:
                of_commit = of_commits[commit] = [[] for _ in hits]
            of_commit[rule].append(campaign)
    for commit in sorted(of_commits):
        yield CommitHits(ends[commit], of_commits[commit])


def _numbered(commits: Integers) -> tuple[Integers, list[int]]:
    """Number commits from 0 on; return the numbers of lines, and where each commit ends."""
    changes = np.flatnonzero(commits[1:] != commits[:-1]) + 1
    numbers = np.zeros(len(commits), np.int64)
    numbers[changes] = 1
    return numbers.cumsum(), [*changes.tolist(), len(commits)]


def _of_same_campaigns(lines: LineColumns, has_hits: NDArray[np.bool_]) -> Integers:
    """Return the positions of all lines of campaigns that have hits in any."""
    is_concerned = np.zeros(int(lines.campaigns.max()) + 1, np.bool_)
    is_concerned[lines.campaigns[has_hits]] = True
    return np.flatnonzero(is_concerned[lines.campaigns])


def _runs(  # noqa: PLR0913 - the same lines in several ways
    lines: LineColumns,
    commits: Integers,
    hits: list[Integers],
    concerned: Integers,
    vocabulary: Vocabulary,
    size_ms: int,
) -> _Runs:
    windows = lines.times[concerned] // size_ms
    oldest = windows.min()
    many_windows, many_commits = int(windows.max() - oldest) + 1, commits.item(-1) + 1
    campaigns = lines.campaigns[concerned]
    # By campaign, then by commit, then by window.
    groups = campaigns * many_commits + commits[concerned]
    keys = groups * many_windows + (windows - oldest)
    order = keys.argsort(kind="stable")
    keys, at = keys[order], concerned[order]
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(is_first)
    chosen = lines.at(at)
    attempts = vocabulary.attempts(chosen)
    group_of = keys[first] // many_windows
    campaign_of = group_of // many_commits
    up_to = np.concatenate(([0], attempts.cumsum()))
    end_of_group = np.searchsorted(keys, (group_of + 1) * many_windows)
    begin_of_campaign = np.searchsorted(keys, campaign_of * many_commits * many_windows)
    names_app = np.where(chosen.apps != NO_APP, np.arange(len(at)), -1)
    newest = np.maximum.reduceat(names_app, first)
    return _Runs(
        campaign_of,
        group_of % many_commits,
        (keys[first] % many_windows + oldest) * size_ms // 1000,
        np.where(newest >= first, chosen.apps[newest], NO_APP),
        np.add.reduceat(attempts, first),
        up_to[end_of_group] - up_to[begin_of_campaign],
        [np.add.reduceat(of_rule[at], first) for of_rule in hits],
    )


def _of_rule(
    runs: _Runs, rule: int, before: Integers, vocabulary: Vocabulary
) -> Iterator[tuple[int, CampaignHits]]:
    """Yield what one rule has of each commit and campaign with hits: of the windows with any."""
    at = np.flatnonzero(runs.hits[rule])
    names, apps = vocabulary.campaign_names, vocabulary.app_names
    columns = (
        runs.commits[at],
        runs.campaigns[at],
        runs.attempts[at],
        runs.hits[rule][at],
        runs.starts[at],
        runs.apps[at],
        before[at] + runs.so_far[at],
    )
    waiting: tuple[int, CampaignHits] | None = None
    for commit, campaign, attempts, hits, start, app, in_all in zip(
        *[column.tolist() for column in columns], strict=True
    ):
        added = Added(names[campaign], attempts, hits, start, apps[app])
        if waiting is not None:
            if waiting[0] == commit and waiting[1].added.key == added.key:
                added = waiting[1].added.with_newer(added)
            else:
                yield waiting
        waiting = commit, CampaignHits(added, in_all)
    if waiting is not None:
        yield waiting
