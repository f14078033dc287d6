"""Contenders that are Python programs: bare aiokafka, Faust, Quix Streams, Bytewax."""

import sys
from dataclasses import dataclass
from math import inf

from benchmarks import environment
from benchmarks.contenders.child import Command, runner
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.progress import Task

FAUST_EVENTS = 50_000
QUIX_EVENTS = 250_000
BYTEWAX_EVENTS = 100_000
"""With many campaigns: from then on each event costs it more and more."""


@dataclass(frozen=True)
class _Program:
    """A module of this package, started in our environment or the contenders' own."""

    module: str
    flags: tuple[str, ...] = ()
    own_environment: bool = False

    def command(self, task: Task) -> list[str]:
        interpreter = str(environment.python()) if self.own_environment else sys.executable
        module = f"benchmarks.contenders.{self.module}"
        return [interpreter, "-m", module, *task.arguments(), *self.flags]


def _floor(name: str, title: str, *flags: str, keyed: bool = False) -> Contender:
    run = runner(_Program("floor_child", flags).command, keyed=keyed)
    return Contender(name, title, "none, no state kept", keyed, run)


def _other(
    name: str, title: str, command: Command, *, keyed: bool = False, most_events: float = inf
) -> Contender:
    run = runner(command, keyed=keyed)
    return Contender(name, title, "at least once", keyed, run, most_events)


_QUIX = _Program("quix_child", own_environment=True).command
_FAUST = _Program("faust_child").command
_BYTEWAX = _Program("bytewax_child", own_environment=True).command
CONTENDERS = (
    _floor("floor", "floor: getmany, decode, dict"),
    _floor("floor-keyed", "floor, keyed topic", keyed=True),
    _floor("floor-no-crc", "floor without CRC checks", "--no-crc"),
    Contender(
        "bytewax",
        "Bytewax",
        "exactly once, local snapshots",
        keyed=False,
        run=runner(_BYTEWAX, keyed=False),
        most_of_many=BYTEWAX_EVENTS,
    ),
    _other("quix", "Quix Streams", _QUIX, most_events=QUIX_EVENTS),
    _other("quix-keyed", "Quix Streams, keyed topic", _QUIX, keyed=True, most_events=QUIX_EVENTS),
    _other("faust", "stock Faust", _FAUST, most_events=FAUST_EVENTS),
    _other("faust-keyed", "stock Faust, keyed topic", _FAUST, keyed=True, most_events=FAUST_EVENTS),
)
