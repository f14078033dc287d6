import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support.http import request
from tests.support.ports import free_port

PATIENCE_S = 60.0
CYCLE_PATIENCE_S = 240.0


def event(campaign: str, status: str, time_ms: int) -> bytes:
    attributes = {"campaign_id": campaign, "campaign_send_status": status, "treatment_id": "0"}
    return orjson.dumps(
        {
            "event_type": "_campaign.send",
            "event_version": "3.1",
            "event_timestamp": time_ms,
            "attributes": attributes,
        }
    )


class Dev:
    """`campaign-streams dev` in a process, and what it says."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        ports = ["--port", str(self.port), "--broker-port", str(free_port())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", "dev", *ports, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, pattern: str, within: float = PATIENCE_S) -> str:
        """Read on until a line fits."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + within
        for line in self._process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
            assert time.monotonic() < deadline, self.lines
        raise AssertionError(f"ended without {pattern!r}: {self.lines}")

    def interrupt(self) -> int:
        """Ctrl-C; return the exit status."""
        self._process.send_signal(signal.SIGINT)
        rest, _ = self._process.communicate(timeout=PATIENCE_S)
        self.lines += rest.splitlines(keepends=True)
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def running() -> Iterator[list[Dev]]:
    devs: list[Dev] = []
    yield devs
    for dev in devs:
        dev.close()


@pytest.mark.embedded
async def test_recorded_events_are_counted_and_ctrl_c_is_clean(
    tmp_path: Path, running: list[Dev]
) -> None:
    file = tmp_path / "events.json"
    minute = 1_795_000_020_000
    # As Firehose leaves them: nothing between.
    file.write_bytes(event("c 1", "SUCCESS", minute) + event("c 1", "FAILURE", minute + 5))
    dev = Dev("--events", str(file))
    running.append(dev)
    dev.wait_for("sent 2 events")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = await request(dev.port, "/v1/campaigns/c%201/windows")
        if answer.status == 200 and answer.json["windows"]:
            break
        assert time.monotonic() < deadline, answer
    (window,) = answer.json["windows"]
    assert window["counts"] == {"FAILURE": 1, "SUCCESS": 1}
    assert dev.interrupt() == 0
    # Of the embedded broker's ways a user has nothing to mend.
    assert not [line for line in dev.lines if re.search(r"Traceback|\[(warning|error)", line)]


@pytest.mark.embedded
async def test_a_campaign_does_not_steer_the_terminal(tmp_path: Path, running: list[Dev]) -> None:
    file = tmp_path / "events.json"
    campaign = "\x1b[31m\u202ered\r\x9b"
    now = int(time.time() * 1000)
    file.write_bytes(b"".join(event(campaign, "FAILURE", now - n) for n in range(100)))
    dev = Dev("--events", str(file), "--now")
    running.append(dev)
    line = dev.wait_for("FIRING")
    assert "\\x1b[31m\\u202ered\\r\\x9b" in line
    assert line.rstrip("\n").isprintable()
    assert dev.interrupt() == 0


@pytest.mark.embedded
@pytest.mark.long
def test_a_simulated_incident_fires_and_resolves(running: list[Dev]) -> None:
    dev = Dev()
    running.append(dev)
    dev.wait_for("worker +ready after")
    dev.wait_for("incident 1 begins", CYCLE_PATIENCE_S)
    dev.wait_for("FIRING", CYCLE_PATIENCE_S)
    dev.wait_for("incident 1 ends", CYCLE_PATIENCE_S)
    dev.wait_for("RESOLVED", CYCLE_PATIENCE_S)
    assert dev.interrupt() == 0
