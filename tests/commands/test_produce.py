import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.traffic.topics import contents, make_topic

EVENTS = [
    b'{"event_type":"_campaign.send","event_timestamp":%d,"arrival_timestamp":%d,'
    b'"attributes":{"campaign_id":"c","campaign_send_status":"SUCCESS"}}' % (1_000_000 + n, n)
    for n in range(20)
]


def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command away from the checkout, whose configuration is nobody's default here."""
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd="/",
    )


def settings(address: str) -> list[str]:
    return [
        *("--set", f"kafka.bootstrap_servers={address}"),
        *("--set", "kafka.guarantee=at-least-once"),
    ]


@pytest.fixture
def topic(embedded_broker: str, unique: str) -> str:
    asyncio.run(make_topic(embedded_broker, unique, 2))
    return unique


def values(address: str, topic: str, count: int) -> list[bytes]:
    return sorted(record.value for record in asyncio.run(contents(address, topic, count)))


@pytest.mark.embedded
def test_sends_every_layout(embedded_broker: str, topic: str, tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").write_bytes(b"\r\n".join(EVENTS[:5]))
    (tmp_path / "firehose").write_bytes(gzip.compress(b"".join(EVENTS[5:10])))
    printed = [json.dumps(json.loads(event), indent=2) for event in EVENTS[10:15]]
    (tmp_path / "printed.json").write_text("\n".join(printed))
    files = [str(file) for file in sorted(tmp_path.iterdir())]
    done = run(
        *("produce", *files, "-", "--topic", topic, *settings(embedded_broker)),
        given=b"\n".join(EVENTS[15:]),
    )
    assert (done.returncode, done.stderr) == (0, b"sent 20 events\n")
    found = [json.loads(value) for value in values(embedded_broker, topic, 20)]
    assert sorted(found, key=lambda event: int(event["event_timestamp"])) == [
        json.loads(event) for event in EVENTS
    ]


@pytest.mark.embedded
def test_says_what_was_not_sent_and_sends_the_rest(
    embedded_broker: str, topic: str, tmp_path: Path
) -> None:
    file = tmp_path / "damaged.ndjson"
    file.write_bytes(b"\n".join([EVENTS[0], b"words", EVENTS[1], b"more words", EVENTS[2]]))
    done = run("produce", str(file), "--topic", topic, *settings(embedded_broker))
    assert done.returncode == 1
    offset = len(EVENTS[0]) + 1
    assert done.stderr.decode().splitlines() == [
        "sent 3 events",
        f"not sent 2: not a JSON object (first: {file}, line 2, byte {offset})",
    ]
    assert values(embedded_broker, topic, 3) == sorted(EVENTS[:3])


@pytest.mark.embedded
@pytest.mark.parametrize("from_pipe", [False, True])
def test_now_makes_the_last_event_now(
    embedded_broker: str, topic: str, tmp_path: Path, from_pipe: bool
) -> None:
    file = tmp_path / "old.ndjson"
    file.write_bytes(b"\n".join(reversed(EVENTS)))
    source = "-" if from_pipe else str(file)
    before_ms = time.time_ns() // 1_000_000
    done = run(
        *("produce", source, "--now", "--key", "campaign", "--topic", topic),
        *settings(embedded_broker),
        given=file.read_bytes() if from_pipe else b"",
    )
    after_ms = time.time_ns() // 1_000_000
    assert done.returncode == 0, done.stderr
    records = asyncio.run(contents(embedded_broker, topic, 20))
    assert {record.key for record in records} == {b"c"}
    found: list[dict[str, Any]] = [json.loads(record.value) for record in records]
    shift = found[0]["event_timestamp"] - 1_000_019
    assert before_ms <= found[0]["event_timestamp"] <= after_ms
    for event, old in zip(found, reversed(EVENTS), strict=True):
        expected = json.loads(old)
        expected["event_timestamp"] += shift
        expected["arrival_timestamp"] += shift
        assert event == expected


@pytest.mark.embedded
def test_a_rate_sends_everything_too(embedded_broker: str, topic: str) -> None:
    done = run(
        *("produce", "-", "--rate", "100", "--topic", topic, *settings(embedded_broker)),
        given=b"".join(EVENTS),
    )
    assert (done.returncode, done.stderr) == (0, b"sent 20 events\n")


@pytest.mark.embedded
def test_a_missing_topic_takes_one_line(embedded_broker: str, unique: str) -> None:
    done = run("produce", "-", "--topic", unique, *settings(embedded_broker), given=EVENTS[0])
    assert done.returncode == 1
    assert f"there is no topic {unique}".encode() in done.stderr
    assert b"topics create" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.embedded
def test_a_pipe_is_sent_as_it_comes_and_can_be_interrupted(
    embedded_broker: str, topic: str
) -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "streams", "produce", "-", "--rate", "10", "--topic", topic),
            *settings(embedded_broker),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd="/",
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(EVENTS[0] + b"\n" + EVENTS[1] + b"\n")
        process.stdin.flush()
        assert values(embedded_broker, topic, 2) == EVENTS[:2]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read().decode().split("\n")[0] == "sent 2 events"


def test_a_broker_that_is_away_takes_one_line() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run("produce", "-", *settings(address), given=EVENTS[0])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert address.encode() in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], b"FILE"),
        (["/no/such/file"], b"/no/such/file"),
        (["-", "--rate", "0"], b"--rate"),
        (["-", "--rate", "nan"], b"--rate"),
        (["-", "--rate", "inf"], b"--rate"),
        (["-", "--key", "app"], b"--key"),
    ],
)
def test_wrong_usage_takes_one_line(arguments: list[str], named: bytes) -> None:
    done = run("produce", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


def test_help_has_an_example() -> None:
    done = run("produce", "--help")
    assert done.returncode == 0
    assert b"campaign-streams produce events.ndjson" in done.stdout
