"""Flink, in one process; it leaves what it counted in a file."""

from benchmarks import environment
from benchmarks.contenders.child import runner
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.progress import Task


def _command(task: Task) -> list[str]:
    return [*environment.java("bench.flink.Main"), *task.arguments()]


CONTENDERS = (
    Contender(
        "flink", "Flink", "exactly once, local checkpoints", False, runner(_command, keyed=False)
    ),
)
