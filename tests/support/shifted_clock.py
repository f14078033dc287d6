"""The program with a clock that is wrong, by as many seconds as `TEST_CLOCK_SHIFT` says."""

import os
import time
from collections.abc import Callable


def shifted(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    """A clock that is ahead of another one."""
    return lambda: clock() + seconds


def main() -> None:
    """Shift the clock, then run the program."""
    time.time = shifted(time.time, float(os.environ["TEST_CLOCK_SHIFT"]))
    from streams.commands import main as run  # noqa: PLC0415 - it must not have the right time

    run()


if __name__ == "__main__":
    main()
