import asyncio
import gzip
import json
from pathlib import Path

import pytest

from tests.commands.test_produce import run, settings, values
from tests.support.ports import free_port
from tests.traffic.topics import make_topic

SHORT = ("--duration", "2s", "--rate", "100", "--campaigns", "5")


def test_writes_the_same_file_for_the_same_seed(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.ndjson", "two.ndjson", "three.ndjson.gz")]
    for file in files:
        done = run("simulate", "--seed", "7", "--duration", "20s", "--output", str(file))
        assert done.returncode == 0, done.stderr
    one, two, three = (file.read_bytes() for file in files)
    assert one == two == gzip.decompress(three)
    assert len(one.splitlines()) > 4000
    assert done.stderr == f"wrote {len(one.splitlines()):,} events\n".encode()


def test_another_seed_is_other_traffic() -> None:
    one, two = (run("simulate", "--seed", seed, *SHORT, "--output", "-") for seed in "12")
    assert one.stdout
    assert one.stdout != two.stdout


def test_labels_are_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    done = run(
        *("simulate", "--duration", "10m", "--incidents", "2", "--rate", "50"),
        *("--labels", str(file), "--output", str(tmp_path / "events.ndjson")),
    )
    assert done.returncode == 0, done.stderr
    labels = [json.loads(line) for line in file.read_text().splitlines()]
    assert [label["decoy"] for label in labels].count(False) == 2
    assert {"campaign_id", "kind", "statuses", "start", "end", "effect"} <= set(labels[0])


def test_starts_when_told() -> None:
    done = run("simulate", *SHORT, "--start", "2026-03-01T12:00:00+01:00", "--output", "-")
    first = json.loads(done.stdout.splitlines()[0])
    assert 0 <= first["arrival_timestamp"] - 1_772_362_800_000 < 2_000


@pytest.mark.embedded
@pytest.mark.parametrize("pace", [[], ["--fast"]])
def test_sends_to_the_topic(embedded_broker: str, unique: str, pace: list[str]) -> None:
    asyncio.run(make_topic(embedded_broker, unique, 2))
    done = run(
        *("simulate", *SHORT, *pace, "--set", f"topics.source={unique}"),
        *settings(embedded_broker),
    )
    assert done.returncode == 0, done.stderr
    summary = done.stderr.decode().splitlines()[-1]
    count = int(summary.removeprefix("sent ").removesuffix(" events"))
    assert count > 100
    found = values(embedded_broker, unique, count)
    assert len(found) == count
    assert all(b"_timestamp" in value for value in found)


def test_a_broker_that_is_away_takes_one_line() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run("simulate", *SHORT, *settings(address))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert address.encode() in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["--duration", "soon"], 2, b"--duration is soon"),
        (["--duration", "10ms"], 2, b"--duration is 10ms"),
        (["--start", "later"], 2, b"--start is later"),
        (["--campaigns", "0"], 2, b"--campaigns"),
        (["--rate", "nan"], 2, b"nan is not a number"),
        (["--rate", "1e300"], 2, b"--rate"),
        (["--output", "/no/such/folder/file"], 1, b"/no/such/folder/file"),
        (["--labels", "/no/such/folder/file"], 1, b"/no/such/folder/file"),
    ],
)
def test_mistakes_take_one_line(arguments: list[str], status: int, named: bytes) -> None:
    done = run("simulate", *arguments)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


def test_help_has_an_example() -> None:
    done = run("simulate", "--help")
    assert done.returncode == 0
    assert b"campaign-streams simulate --seed 7" in done.stdout
