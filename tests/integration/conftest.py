"""Workers for the tests of the parts together."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.workers import Settings, WorkerProcess

NewWorker: TypeAlias = Callable[..., WorkerProcess]


@pytest.fixture
def new_worker(tmp_path: Path) -> Iterator[NewWorker]:
    """Make a worker, started; all are gone when the test ends."""
    with ExitStack() as stack:

        def make(
            settings: Settings, name: str = "worker", module: str = "streams"
        ) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(settings, tmp_path, name, module))

        yield make
