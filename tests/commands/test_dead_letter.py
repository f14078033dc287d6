import asyncio
import base64
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streams.domain.events import Reason
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.mixture import SourceRecord
from tests.support.ports import free_port
from tests.support.topics import Sender, create_topic, read_topic

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
HOSTILE = b'{"\x1b[2Jmarkup": "[bold]", "\xe2\x80\xae": "\xff'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command away from the checkout, whose configuration is nobody's default here."""
    return subprocess.run(
        [sys.executable, "-m", "streams", "dead-letter", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
        cwd="/",
    )


def run_on_terminal(answer: str, *arguments: str) -> tuple[int, str]:
    """Run the command with a terminal to ask on; return its exit status and what it said."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "streams", "dead-letter", *arguments],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        cwd="/",
    ) as process:
        os.write(ours, answer.encode())
        said, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, said


class System:
    """A broker, a configuration and its topics."""

    def __init__(self, broker: RunningBroker, unique: str) -> None:
        self.address = broker.address
        self.source, self.dead = f"{unique}-events", f"{unique}-dead"
        values = {
            "kafka.bootstrap_servers": broker.address,
            "kafka.guarantee": broker.guarantee,
            "kafka.group_id": unique,
            "topics.source": self.source,
            "topics.dead_letter": self.dead,
        }
        self.settings = [
            word for key, value in values.items() for word in ("--set", f"{key}={value}")
        ]

    def make(self) -> None:
        for topic in (self.source, self.dead):
            asyncio.run(create_topic(self.address, topic, 2))

    def put(self, *records: SourceRecord) -> None:
        async def send() -> None:
            async with Sender(self.address, self.dead) as sender:
                await sender.send(records)

        asyncio.run(send())

    def replayed(self) -> list[bytes | None]:
        found = asyncio.run(read_topic(self.address, self.source))
        return sorted((record.value for record in found), key=str)

    def letter(
        self,
        value: bytes | None,
        reason: str = "not-json",
        failed_at: str = "2026-11-23T10:00:00Z",
        partition: int = 0,
        own: Sequence[tuple[str, bytes]] = (),
    ) -> SourceRecord:
        headers = (
            *own,
            ("reason", reason.encode()),
            ("detail", b"bad \x1b[31mbytes"),
            ("source-topic", self.source.encode()),
            ("source-partition", b"1"),
            ("source-offset", b"7"),
            ("failed-at", failed_at.encode()),
        )
        return SourceRecord(partition, b"key", value, headers)


@pytest.fixture
def system(broker: RunningBroker, unique: str) -> System:
    system = System(broker, unique)
    system.make()
    return system


def test_list_shows_what_was_put_aside(system: System) -> None:
    system.put(
        system.letter(HOSTILE, failed_at="2026-11-23T11:00:00Z"),
        system.letter(None, "expired", partition=1),
    )
    done = run("list", "--values", *system.settings)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    older, newer = lines[1], lines[2]
    came_from = f"{system.source}:1:7"
    assert older.split()[:5] == ["1:0", "2026-11-23T10:00:00Z", "expired", came_from, "3"]
    assert "(null)" in older
    size = str(len(HOSTILE) + 3)
    assert newer.split()[:5] == ["0:0", "2026-11-23T11:00:00Z", "not-json", came_from, size]
    assert r"bad \x1b[31mbytes" in newer
    assert r'{"\x1b[2Jmarkup": "[bold]", "\u202e": "\xff' in newer
    assert all(character.isprintable() for line in lines for character in line)
    assert lines[-1] == "2 dead letters: expired 1, not-json 1"


def test_list_shows_the_newest_of_what_is_asked_for(system: System) -> None:
    system.put(
        *(system.letter(b"%d" % n, failed_at=f"2026-11-23T10:00:0{n}Z") for n in range(5)),
        system.letter(b"other", "expired"),
    )
    options = ("--reason", "not-json", "--since", "2026-11-23T10:00:01Z", "--limit", "2")
    done = run("list", *options, *system.settings)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["0:3", "0:4"]
    assert done.stdout.splitlines()[-1] == "4 dead letters, the newest 2 are shown: not-json 4"


def test_json_has_the_whole_record(system: System) -> None:
    system.put(
        system.letter(b'"\xc3\xbc\x07"', own=[("trace", b"\xff"), ("note", b"n")]),
        system.letter(HOSTILE, failed_at="2026-11-23T10:00:00.5Z"),
    )
    done = run("list", "--json", *system.settings)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == {
        "partition": 0,
        "offset": 0,
        "failed_at": "2026-11-23T10:00:00Z",
        "reason": "not-json",
        "detail": "bad \x1b[31mbytes",
        "source_topic": system.source,
        "source_partition": 1,
        "source_offset": 7,
        "size": 8,
        "original_size": 8,
        "truncated": [],
        "replayed": False,
        "key": "key",
        "value": '"ü\x07"',
        "headers": [{"name": "trace", "value_base64": "/w=="}, {"name": "note", "value": "n"}],
    }
    assert second["failed_at"] == "2026-11-23T10:00:00.500Z"
    assert base64.b64decode(second["value_base64"]) == HOSTILE
    assert "value" not in second


def test_nothing_there_is_no_failure(system: System) -> None:
    done = run("list", *system.settings)
    assert (done.returncode, done.stdout) == (0, f"there are no dead letters in {system.dead}\n")
    done = run("list", "--since", "1h", *system.settings)
    assert done.stdout == f"there are no dead letters of this kind in {system.dead}\n"
    done = run("list", "--json", *system.settings)
    assert (done.returncode, done.stdout) == (0, "")
    done = run("replay", "--all", "--yes", *system.settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 dead letters replayed\n", "")


def test_replay_twice_replays_once_and_list_says_so(system: System) -> None:
    system.put(system.letter(b"one"), system.letter(b"two", "expired"), system.letter(b"three"))
    dry = run("replay", "--reason", "not-json", "--dry-run", *system.settings)
    assert (dry.returncode, dry.stdout) == (0, f"2 dead letters to replay to {system.source}\n")
    assert system.replayed() == []

    some = run("replay", "--at", "0:2", "--yes", *system.settings)
    assert (some.returncode, some.stdout) == (0, "1 dead letter replayed\n")
    both = run("replay", "--reason", "not-json", "--yes", *system.settings)
    assert both.stdout == "1 dead letter replayed (1 left out: replayed before)\n"
    again = run("replay", "--reason", "not-json", "--yes", *system.settings)
    assert again.stdout == "0 dead letters replayed (2 left out: replayed before)\n"
    assert system.replayed() == [b"one", b"three"]

    lines = run("list", "--json", *system.settings).stdout.splitlines()
    seen: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {each["value"]: each["replayed"] for each in seen} == {
        "one": True,
        "two": False,
        "three": True,
    }


def test_replay_asks_first(system: System) -> None:
    system.put(system.letter(b"one"), system.letter(b"two"))
    status, said = run_on_terminal("n\n", "replay", "--all", *system.settings)
    assert status == 1
    assert f"2 dead letters to replay to {system.source}" in said
    assert "nothing was replayed" in said
    assert system.replayed() == []
    status, said = run_on_terminal("y\n", "replay", "--all", *system.settings)
    assert (status, said.splitlines()[-1]) == (0, "Replay? [y/N]: 2 dead letters replayed")
    assert system.replayed() == [b"one", b"two"]


def test_a_place_without_a_dead_letter_is_named(system: System) -> None:
    system.put(system.letter(b"one"))
    done = run("replay", "--at", "0:0", "--at", "1:99", "--yes", *system.settings)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no dead letter at 1:99" in done.stderr
    assert system.replayed() == []


@pytest.mark.kafka
def test_a_kill_in_the_middle_neither_loses_nor_doubles(kafka: KafkaBroker, unique: str) -> None:
    system = System(RunningBroker("kafka", kafka.address), unique)
    system.make()
    values = [b"%d" % number for number in range(20_000)]
    system.put(*(system.letter(value) for value in values))
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "streams",
            "dead-letter",
            "replay",
            "--all",
            "--yes",
            *system.settings,
        ],
        env=ENVIRONMENT,
        cwd="/",
    ) as process:
        deadline = time.monotonic() + 60
        while not asyncio.run(read_topic(system.address, system.source, committed=False)):
            assert time.monotonic() < deadline, "nothing is replayed"
        process.kill()
    assert run("replay", "--all", "--yes", *system.settings).returncode == 0
    assert system.replayed() == sorted(values, key=str)


@pytest.mark.embedded
def test_a_broker_without_transactions_takes_one_line(embedded_broker: str, unique: str) -> None:
    system = System(RunningBroker("embedded", embedded_broker), unique)
    system.make()
    system.put(system.letter(b"one"))
    exactly_once = ("--set", "kafka.guarantee=exactly-once")
    done = run("replay", "--all", "--yes", *system.settings, *exactly_once)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "at-least-once" in done.stderr


def test_a_missing_topic_takes_one_line(broker: RunningBroker, unique: str) -> None:
    settings = System(broker, unique).settings
    for arguments in (["list"], ["replay", "--all", "--yes"]):
        done = run(*arguments, *settings)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert f"no topic {unique}-dead" in done.stderr
        assert "topics create" in done.stderr


def test_a_broker_that_is_away_takes_one_line() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run("list", "--set", f"kafka.bootstrap_servers={address}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert address in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["list", "--reason", "bad"], "--reason"),
        (["list", "--since", "yesterday"], "yesterday"),
        (["list", "--limit", "0"], "--limit"),
        (["replay", "--yes"], "--all"),
        (["replay", "--all", "--at", "0:1", "--yes"], "--all"),
        (["replay", "--at", "1", "--yes"], "PARTITION:OFFSET"),
        (["replay", "--all"], "--yes"),
    ],
)
def test_wrong_usage_takes_one_line(arguments: list[str], named: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


@pytest.mark.parametrize("name", ["list", "replay"])
def test_help_has_an_example(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert f"campaign-streams dead-letter {name} --" in done.stdout


@pytest.mark.parametrize("name", ["list", "replay"])
def test_help_names_the_reasons_in_their_words(name: str) -> None:
    assert f"--reason [{'|'.join(reason.value for reason in Reason)}]" in run(name, "--help").stdout
