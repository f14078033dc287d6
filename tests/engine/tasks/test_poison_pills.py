"""Which records are left out so that the others can be processed."""

from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.events import Reason
from streams.engine.produce.writer import RefusedError, TaskLostError, WriteError
from streams.engine.tasks.poison_pills import (
    TRIAL_PERIOD,
    PoisonPills,
    UnprocessableError,
    as_task_lost,
    unprocessable,
)
from tests.support.tasks import TaskHarness

RECORDS = 40
positions = st.sets(st.integers(0, RECORDS - 1))


@given(positions, st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=3))
def test_what_is_left_out_is_what_fails_and_no_more(
    poison: set[int], pairs: list[tuple[int, int]]
) -> None:
    apart = [pair for pair in pairs if pair[0] != pair[1] and not poison & set(pair)]

    def process(records: Sequence[int]) -> None:
        for record in records:
            if record in poison:
                raise ValueError(str(record))
        if any(set(pair) <= set(records) for pair in apart):
            raise ValueError("together")

    found = unprocessable(RECORDS, process)
    left_out = {each.position for each in found}
    process([each for each in range(RECORDS) if each not in left_out])
    assert poison <= left_out
    assert len(left_out - poison) <= len(apart)
    assert {each.reason for each in found} <= {Reason.UNPROCESSABLE}
    if not apart:
        assert [each.detail for each in found] == [f"ValueError: {at}" for at in sorted(poison)]


@pytest.mark.parametrize(
    ("error", "of_input"),
    [
        (OverflowError("int too large"), True),
        (AssertionError(), True),
        (KafkaConnectionError("away"), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (WriteError("the transaction failed"), False),
    ],
)
def test_only_what_is_none_of_kafkas_may_be_of_the_input(error: Exception, of_input: bool) -> None:
    lost = as_task_lost("a batch", error)
    assert isinstance(lost, TaskLostError)
    poison_pills, harness = PoisonPills(), TaskHarness()
    poison_pills.note_failure(lost, harness.context)
    assert poison_pills.needs_trial(harness.now) == of_input


def test_care_ends_and_begins_anew() -> None:
    poison_pills, harness = PoisonPills(), TaskHarness()
    poison_pills.note_failure(
        UnprocessableError.of("partial counts", ValueError("x"), 7), harness.context
    )
    assert poison_pills.failed_counts == {7: "ValueError: x"}
    assert poison_pills.needs_trial(harness.now + TRIAL_PERIOD - 1)
    assert not poison_pills.needs_trial(harness.now + TRIAL_PERIOD)
    poison_pills.forget_failed(before=7)
    assert poison_pills.failed_counts
    poison_pills.forget_failed(before=8)
    assert not poison_pills.failed_counts


@pytest.mark.parametrize("topic", ["dead", "changelog"])
def test_only_dead_letters_become_bare(topic: str) -> None:
    poison_pills, harness = PoisonPills(), TaskHarness()
    refused = RefusedError.of(TopicPartition(topic, 0), MessageSizeTooLargeError())
    poison_pills.note_failure(refused, harness.context)
    assert (poison_pills.headers_only, harness.context.limits.outdated) == (False, True)
    poison_pills.note_failure(refused, harness.context)
    assert poison_pills.headers_only == (topic == "dead")
    assert not poison_pills.needs_trial(harness.now)
