"""What others hear of tasks."""

from structlog.testing import capture_logs

from streams.domain.commits import Commit
from streams.engine.tasks.events import TaskEvents


def _raise() -> None:
    raise ZeroDivisionError


def test_a_subscriber_that_raises_keeps_nothing_from_the_others() -> None:
    events = TaskEvents()
    heard: list[Commit | None] = []
    events.on_commit(lambda _: _raise())
    events.on_commit(heard.append)
    events.on_change(_raise)
    events.on_change(lambda: heard.append(None))
    commit = Commit(3)
    with capture_logs() as logs:
        events.committed(commit)
        events.changed()
    assert heard == [commit, None]
    assert [each["event"] for each in logs] == ["on_commit failed", "on_change failed"]
