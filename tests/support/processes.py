"""Programs that a test starts, freezes and kills; none is left behind."""

import atexit
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 30.0


class ServerProcess:
    """One program in a process group of its own; its output goes to the end of `log_file`.

    The group is killed when the interpreter ends, unless `detach` was called.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_file: Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the tests, which then end it
            )
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (paused counts)."""
        return self._process.poll() is None

    def stop(self) -> int:
        """SIGTERM, and SIGKILL after half a minute; the exit status (negative: the signal)."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL; the exit status."""
        return self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP; returns when the process has stopped. Its connections stay open."""
        os.killpg(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self.pid, signal.SIGCONT)

    def detach(self) -> None:
        """Let the process live on after this interpreter."""
        atexit.unregister(self.kill)

    def _end(self, how: signal.Signals) -> int:
        atexit.unregister(self.kill)
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, how)
                os.killpg(self.pid, signal.SIGCONT)  # a paused process hears nothing else
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()
