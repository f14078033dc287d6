"""How commands end: by signals from their first moment on, and when nobody reads their output."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port

PATIENCE_S = 60.0
STOPS_WITHIN_S = 10.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


FROM_A_TERMINAL = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
"""Not what is inherited where nohup runs the tests."""


def start(*arguments: str, first: str = "") -> "subprocess.Popen[str]":
    """Start the program as from a terminal; `first` is Python that comes before it."""
    program = ["-c", f"{FROM_A_TERMINAL}\n{first}\nfrom streams.__main__ import main\nmain()"]
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for its end; return its exit status and what it said."""
    said, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said + errors


@contextmanager
def silent_broker() -> Iterator[str]:
    """Lend the address of one that takes connections and never answers, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


IN_A_MODULE = """
import importlib, os, sys, threading, time
known = importlib.import_module
def slow(name, *rest):
    if name.startswith("streams.commands."):
        print("reading", flush=True)
        while True:
            time.sleep(0.1)
    return known(name, *rest)
importlib.import_module = slow
"""
"""Reading the command's own code takes long. A signal that comes just before a sleep does not end
that one: so they are short."""


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(
    ("arguments", "failed"),
    [(["worker"], False), (["dev"], False), (["produce", "-"], True), (["query", "rules"], True)],
)
def test_a_signal_before_anything_has_begun(
    arguments: list[str], failed: bool, number: signal.Signals
) -> None:
    process = start(*arguments, first=IN_A_MODULE)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    assert ended(process) == (128 + number if failed else 0, "")


@pytest.mark.parametrize("number", ENDING)
def test_a_worker_stops_while_it_looks_for_its_broker(number: signal.Signals) -> None:
    with silent_broker() as address:
        process = start("worker", "--set", f"kafka.bootstrap_servers={address}", "--port", "0")
        time.sleep(1.5)
        process.send_signal(number)
        status, said = ended(process)
    assert (status, said) == (0, "")


@pytest.mark.parametrize("number", ENDING)
def test_produce_says_what_it_has_sent(number: signal.Signals) -> None:
    with silent_broker() as address:
        process = start("produce", "-", "--set", f"kafka.bootstrap_servers={address}")
        time.sleep(1.5)
        process.send_signal(number)
        status, said = ended(process)
    assert status == 128 + number
    assert "Traceback" not in said


UNSTOPPABLE = """
import signal, streams.worker as w
async def stop(self):
    print("stopping", flush=True)
    while True:
        try:
            await w.asyncio.sleep(600)
        except w.asyncio.CancelledError:
            pass
async def start(self):
    print("started", flush=True)
    await w.asyncio.sleep(600)
async def prepare(self, *, create):
    names = self._configuration.topics
    roles = "source repartition changelog silences campaign_names app_names groups alerts"
    roles += " dead_letter"
    return {getattr(names, each): 1 for each in roles.split()}
async def check(*_):
    pass
w.Worker.start, w.Worker.stop, w.TopicAdmin.prepare = start, stop, prepare
w.check_broker = w.check_rights = check
"""
"""A worker that hangs wherever it can."""


def hanging_worker() -> "subprocess.Popen[str]":
    process = start("worker", "--port", "0", first=UNSTOPPABLE)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_a_worker_that_hangs_ends_all_the_same() -> None:
    process = hanging_worker()
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status, _ = ended(process)
    assert status == 0
    assert time.monotonic() - told < STOPS_WITHIN_S


@pytest.mark.parametrize("number", ENDING)
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    process = hanging_worker()
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(number)
    assert ended(process) == (128 + number, "")


def test_a_closed_terminal_is_nothing_to_nohup() -> None:
    process = start(
        "worker",
        *("--port", "0"),
        first="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + UNSTOPPABLE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    ended(process)


def piped(command: str, *, to: str = "head -1") -> "subprocess.CompletedProcess[str]":
    """Run a command whose reader ends after a line."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m streams {command} | {to}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(
    "command", ["config show", "config show --json", "simulate --output - --duration 10m"]
)
def test_a_reader_that_has_seen_enough(command: str) -> None:
    done = piped(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_reader_that_reads_nothing() -> None:
    done = piped("config show", to="true")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_named() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m streams config show > /dev/full"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    expected = f"campaign-streams: the output cannot be written: {os.strerror(28)}\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.embedded
@pytest.mark.parametrize("recorded", [True, False])
def test_dev_ends_with_its_reader(recorded: bool, tmp_path: Path) -> None:
    events = ""
    if recorded:
        # All is sent at once, and then there is nothing to say any more.
        file = tmp_path / "none.ndjson"
        file.write_bytes(b"\n")
        events = f"--events {file}"
    done = piped(f"dev --port {free_port()} --broker-port {free_port()} {events}", to="head -2")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 2
