"""What windows say of an alert: its evidence, its part of the totals, its highest figures."""

from collections.abc import Collection

from streams.domain.alert_records import Alert, HighestCounts
from streams.domain.detectors.detector import Evaluation, Figures
from streams.domain.detectors.history import Stretch
from streams.domain.evaluation import ScopeWindows
from streams.domain.rendering import evidence_of
from streams.domain.rules import Rule


def new_alert(  # noqa: PLR0913, PLR0917 - all that an alert begins with
    alert_id: str,
    rule: Rule,
    windows: ScopeWindows,
    breach: Figures,
    first: Stretch | None,
    now: float,
    size: int,
) -> Alert:
    """Return a pending alert about a breach.

    Args:
        alert_id: its id.
        rule: raises it.
        windows: of its scope.
        breach: the figures that breach.
        first: the first windows that breach; null for those of `breach`.
        now: wall-clock time (s, UTC).
        size: of a window (s).
    """
    stretch = breach.stretch
    first = first or stretch
    of_open = {at: seen for at, seen in windows.open.items() if first.start <= at <= first.last}
    return Alert(
        alert_id=alert_id,
        rule=rule.name,
        scope=windows.scope,
        app_id=windows.app_id,
        state="pending",
        severity=rule.severity,
        labels=dict(rule.labels),
        receivers=rule.receivers,
        pending_since=now,
        last_evaluated_at=now,
        window_start=stretch.start,
        window_end=stretch.last + size,
        evidence=evidence_of(breach),
        since=first.start,
        breached=stretch.last,
        counted={},
        counted_size=size,
        closed=(
            # A breach that folds may begin in the middle of an open window.
            max(0, first.seen.attempts - sum(seen.attempts for seen in of_open.values())),
            max(0, first.seen.hits - sum(seen.hits for seen in of_open.values())),
        ),
        closed_through=min(of_open, default=first.last + 1) - 1,
        definition=rule.definition,
    )


def set_figures(alert: Alert, windows: ScopeWindows, evaluation: Evaluation, size: int) -> bool:
    """Let an alert know what the windows of its scope, `size` (s) long, say.

    Returns:
        Whether anything has changed that cannot be worked out again from these windows.
    """
    alert.close_all_but(windows.open.keys())
    alert.counted = counted(windows)
    if evaluation.figures is not None:
        set_evidence(alert, evaluation.figures, size)
    highest = evaluation.highest
    alert.now = highest_counts(highest, size) if highest is not None else None
    if evaluation.breach is None:
        return False
    last = evaluation.breach.stretch.last
    if alert.since <= last <= alert.breached:
        return False
    alert.breached = max(alert.breached, last)
    alert.since = min(alert.since, last)
    return True


def set_evidence(alert: Alert, figures: Figures, size: int) -> None:
    """Make figures the evidence of an alert; windows are `size` (s) long."""
    alert.window_start = figures.stretch.start
    alert.window_end = figures.stretch.last + size
    alert.evidence = evidence_of(figures)


def highest_counts(stretch: Stretch, size: int) -> HighestCounts:
    """Return the figures of some windows, `size` (s) long, as an alert keeps them."""
    seen = stretch.seen
    return HighestCounts(seen.attempts, seen.hits, stretch.start, stretch.last + size)


def counted(windows: ScopeWindows) -> dict[int, tuple[int, int]]:
    """Return attempts and hits in each open window, by its start (s)."""
    return {start: (seen.attempts, seen.hits) for start, seen in windows.open.items()}


def uncount_reopened(alert: Alert, windows: ScopeWindows, *, resized: bool) -> None:
    """Take windows that are open again out of what closed windows have said.

    Args:
        alert: was read back.
        windows: of its scope.
        resized: whether windows have another size now than when the alert was written.
    """
    for start, seen in windows.open.items():
        was_closed = resized or start <= alert.closed_through
        if start >= alert.since and start not in alert.counted and was_closed:
            alert.closed = alert.closed[0] - seen.attempts, alert.closed[1] - seen.hits


def resize(alert: Alert, size: int) -> None:
    """Forget the windows that were counted, but not what was in them: they are `size` (s) now."""
    alert.close_all_but(())
    alert.counted_size = size
    alert.since -= alert.since % size
    alert.breached -= alert.breached % size


def close_through(alert: Alert, open_starts: Collection[int], *, resized: bool) -> bool:
    """Count windows that are open, by their starts (s), as such from here on.

    Returns:
        Whether this, or `resized` windows, has changed the alert.
    """
    closed_through = min([alert.closed_through, *(start - 1 for start in open_starts)])
    if not resized and closed_through == alert.closed_through:
        return False
    alert.closed_through = closed_through
    return True
