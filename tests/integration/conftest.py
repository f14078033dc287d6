"""Workers for the tests of the parts together."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import guarded_loops
from tests.support.workers import Settings, WorkerProcess

NewWorker: TypeAlias = Callable[..., WorkerProcess]


@pytest.fixture
def new_worker(tmp_path: Path) -> Iterator[NewWorker]:
    """Make a worker, started; all are gone when the test ends, and none has mixed up threads."""
    workers: list[WorkerProcess] = []
    with ExitStack() as stack:

        def make(
            settings: Settings, name: str = "worker", module: str = guarded_loops.MODULE
        ) -> WorkerProcess:
            worker = WorkerProcess(settings, tmp_path, name, module)
            workers.append(worker)
            return stack.enter_context(worker)

        yield make
    for worker in workers:
        assert guarded_loops.FOREIGN not in worker.log, worker.log_file
