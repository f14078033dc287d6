"""A task's life: which state may follow which."""

import itertools
import re

import pytest

from streams.engine.produce.writer import TaskLostError
from streams.engine.tasks import state
from streams.engine.tasks.state import IllegalTransitionError, TaskState
from tests.support.tasks import SOURCE, TaskHarness

ALLOWED = {
    ("restoring", "running"),
    ("running", "suspended"),
    ("suspended", "running"),
    *((alive, "lost") for alive in ("restoring", "running", "suspended")),
    *((open_, "closed") for open_ in ("restoring", "running", "suspended", "lost")),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TaskState, TaskState)))
def test_only_the_transitions_of_the_picture_are_allowed(
    before: TaskState, after: TaskState
) -> None:
    if (before, after) in ALLOWED:
        assert before.to(after) is after
    else:
        with pytest.raises(IllegalTransitionError, match=f"that is {before} .* become {after}"):
            before.to(after)


def test_every_state_is_in_the_picture() -> None:
    picture = state.__doc__ or ""
    assert all(re.search(rf"\b{each.name}\b", picture) for each in TaskState)


async def test_a_task_that_is_lost_can_only_be_closed() -> None:
    harness = TaskHarness()
    harness.task.lose(TaskLostError("the first reason"))
    harness.task.lose(TaskLostError("another one"))
    with pytest.raises(TaskLostError, match="the first reason"):
        harness.task.suspend()
    with pytest.raises(IllegalTransitionError, match="that is lost cannot become running"):
        harness.task.resume(2)
    await harness.task.close()
    harness.task.lose(TaskLostError("too late to matter"))
    assert harness.task.state is TaskState.CLOSED


async def test_a_suspended_task_goes_on_when_it_is_resumed() -> None:
    harness = TaskHarness()
    harness.task.suspend()
    harness.task.suspend()
    await harness.take(SOURCE, b"left out")
    assert harness.task.positions[SOURCE].offset == 0
    harness.task.resume(2)
    await harness.take(SOURCE, b"nonsense")
    await harness.task.tick()
    assert harness.writer.take().offsets[SOURCE].offset == 1


async def test_a_task_takes_nothing_before_it_is_started() -> None:
    harness = TaskHarness(start=False)
    await harness.take(SOURCE, b"nonsense")
    assert harness.task.positions[SOURCE].offset == 0
    with pytest.raises(IllegalTransitionError, match="that is restoring cannot become suspended"):
        harness.task.suspend()
    harness.task.start()
    await harness.take(SOURCE, b"nonsense")
    assert harness.task.positions[SOURCE].offset == 1
