"""Whoever looks again and again goes on, whatever a look raises. No broker is needed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.configuration.models import Configuration
from streams.engine.cluster import lag, surroundings
from streams.engine.cluster.surroundings import Surroundings
from tests.support.waiting import until

NO_NODE = AssertionError("Did we not perform bootstrap?")
"""What aiokafka says when it knows of no brokers."""


async def _none(*_: Any) -> list[Any]:
    return []


async def test_the_look_goes_on_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception | None] = [None, NO_NODE]

    async def check_broker(_: Any) -> None:
        error = answers.pop() if answers else None
        if error is not None:
            raise error

    monkeypatch.setattr(surroundings, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(surroundings, "check_broker", check_broker)
    monkeypatch.setattr(surroundings, "missing_rights", _none)
    looking = Surroundings({}, Configuration(), [0], waiting=lambda: ["the group"])
    watching = asyncio.create_task(looking.watch())

    async def looked() -> bool:
        return not answers

    await until(looked)
    assert not watching.done()

    async def is_right_again() -> bool:
        return not looking.hindrances and looking.broker_answers

    await until(is_right_again)
    watching.cancel()


async def test_the_lag_is_asked_for_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [NO_NODE]
    told: list[Mapping[TopicPartition, int]] = []

    @contextlib.asynccontextmanager
    async def reading(*_: Any, **__: Any) -> AsyncIterator[None]:
        if failures:
            raise failures.pop()
        yield

    monkeypatch.setattr(lag, "EVERY", 0.001)
    monkeypatch.setattr(lag, "reading", reading)
    watching = asyncio.create_task(lag.watch_lag({}, "group", dict, told.append))

    async def is_told() -> bool:
        return told == [{}] * len(told) and bool(told)

    await until(is_told)
    watching.cancel()
