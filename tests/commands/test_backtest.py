import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_produce import run, settings
from tests.traffic.topics import make_topic

START = 1_767_225_600_000


def lines(failed: int = 5, campaign: str = "c") -> list[bytes]:
    """Ten sends a second for ten minutes, of which some fail in the fourth one."""
    found = []
    for second in range(600):
        bad = failed if 180 <= second < 240 else 0
        counts = [["SUCCESS", None, None, "GCM", 10 - bad], ["FAILURE", None, None, "GCM", bad]]
        line = {"at": START + second * 1000, "campaign_id": campaign, "counts": counts}
        found.append(json.dumps(line).encode())
    return found


@pytest.fixture
def counts(tmp_path: Path) -> str:
    file = tmp_path / "counts.ndjson.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines())))
    return str(file)


def ndjson(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_prints_each_transition_as_json(counts: str) -> None:
    done = run("backtest", "--counts", counts, "--output", "ndjson")
    assert done.returncode == 0, done.stderr
    firing, resolved = ndjson(done.stdout)
    assert firing.keys() == {"at", "type", "data"}
    assert (firing["at"], firing["type"]) == (START + 193_000, "campaign.alert.firing")
    assert (resolved["at"], resolved["type"]) == (START + 299_000, "campaign.alert.resolved")
    assert firing["data"]["evidence"]["attempts"] == 140
    assert firing["data"]["alert_id"] == resolved["data"]["alert_id"]
    assert run("backtest", "--counts", counts, "--output", "ndjson").stdout == done.stdout
    assert b"failure-spike" in done.stderr


def test_prints_lines_and_a_summary_for_people(counts: str) -> None:
    done = run("backtest", "--counts", counts)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second, *rest = done.stdout.decode().splitlines()
    assert first == (
        "2026-01-01T00:03:13Z  FIRING    critical  failure-spike firing in campaign c: 70 of 140 "
        "attempts (50.0%) since 2026-01-01T00:03:00Z, usually 0.0%; all parts alike"
    )
    assert second.startswith("2026-01-01T00:04:59Z  RESOLVED  critical  failure-spike resolved")
    summary = [line.split() for line in rest if line.strip().startswith("failure-spike")]
    assert summary == [["failure-spike", "1", "1", "1", "0", "0", "106s"]]
    assert rest[-1].startswith("600 arrivals from 2026-01-01T00:00:00Z to 2026-01-01T00:09:59Z")


@pytest.mark.parametrize("content", [b"", gzip.compress(b""), b"\n\r\n  \n"])
def test_a_file_without_counts_is_warned_of(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "counts.ndjson"
    file.write_bytes(content)
    done = run("backtest", "--counts", str(file), "--output", "ndjson")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode().splitlines()[-1] == (
        "campaign-streams: warning: nothing arrived, so the rules had nothing to say"
    )


def test_names_of_campaigns_cannot_steer_a_terminal(tmp_path: Path) -> None:
    name = "\x1b[31mred\x07\u202e[bold]\n2026\u2028`"
    file = tmp_path / "counts.ndjson"
    file.write_bytes(b"\n".join(lines(campaign=name)))
    done = run("backtest", "--counts", str(file))
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.decode().splitlines()
    assert "campaign \\x1b[31mred\\x07\\u202e[bold]\\n2026\\u2028`: 70 of 140" in first
    assert "RESOLVED" in second
    done = run("backtest", "--counts", str(file), "--output", "ndjson")
    assert b"\x1b" not in done.stdout
    assert ndjson(done.stdout)[0]["data"]["campaign_id"] == name


def test_reads_standard_input(counts: str) -> None:
    given = Path(counts).read_bytes()
    done = run("backtest", "--counts", "-", "--output", "ndjson", given=given)
    assert len(ndjson(done.stdout)) == 2


def test_prints_what_another_configuration_would_change(counts: str, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        "rules:\n"
        "  - {name: failure-spike, group: failure, detector: {kind: threshold, level: 0.6}}\n"
        "  - {name: any, group: failure, detector: {kind: count, more_than: 200}}\n"
    )
    arguments = ("backtest", "--counts", counts, "--config", str(strict), "--against", "base.yaml")
    base = tmp_path / "base.yaml"
    base.write_text("rules:\n  - {name: failure-spike, group: failure}\n")
    arguments = (*arguments[:-1], str(base))
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    gone, new, told, *_ = done.stdout.decode().splitlines()
    assert gone.startswith("2026-01-01T00:03:13Z  GONE  critical  failure-spike firing")
    assert new.startswith("2026-01-01T00:03:40Z  NEW   critical  any firing")
    assert told == f"against {base}: 1 alert would be gone, 1 new, 0 stay (0 earlier, 0 later)"
    done = run(*arguments, "--output", "ndjson")
    assert [(each["change"], each["data"]["rule"]) for each in ndjson(done.stdout)] == [
        ("gone", "failure-spike"),
        ("new", "any"),
    ]
    assert b"would be gone" in done.stderr


def test_the_same_rules_change_nothing(counts: str, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("rules:\n  - {name: failure-spike, group: failure}\n")
    done = run("backtest", "--counts", counts, "--against", str(base), "--output", "ndjson")
    assert done.stdout == b""
    assert b"0 alerts would be gone, 0 new, 1 stay (0 earlier, 0 later)" in done.stderr


def test_scores_against_labels(counts: str, tmp_path: Path) -> None:
    label = {"campaign_id": "c", "start_ms": START + 180_000, "end_ms": START + 240_000}
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({**label, "statuses": ["FAILURE"], "kind": "step"}))
    done = run("backtest", "--counts", counts, "--labels", str(labels))
    assert done.returncode == 0, done.stderr
    output = done.stdout.decode()
    assert ["step", "1", "1", "0", "13.0", "s", "13.0", "s"] in [
        line.split() for line in output.splitlines()
    ]
    assert "recall 1.000; precision 1.000; 0 false alarms, 0.000 per campaign and day" in output


def test_simulated_events_are_scored_by_their_labels(tmp_path: Path) -> None:
    events, labels = str(tmp_path / "events.ndjson.gz"), str(tmp_path / "labels.jsonl")
    done = run(
        *("simulate", "--seed", "5", "--duration", "10m", "--rate", "60", "--campaigns", "4"),
        *("--output", events, "--labels", labels),
    )
    assert done.returncode == 0, done.stderr
    done = run("backtest", events, "--labels", labels)
    assert done.returncode == 0, done.stderr
    assert "FIRING" in done.stdout.decode()
    assert "recall 1.000" in done.stdout.decode()


@pytest.mark.embedded
def test_reads_a_topic(embedded_broker: str, unique: str, tmp_path: Path) -> None:
    asyncio.run(make_topic(embedded_broker, unique, 2))
    file = tmp_path / "events.ndjson"
    file.write_bytes(
        b"\n".join(
            b'{"event_type":"_campaign.send","event_timestamp":%d,"attributes":{"campaign_id":"c",'
            b'"delivery_type":"GCM","campaign_send_status":"FAILURE"}}' % (START + n)
            for n in range(200)
        )
    )
    broker = settings(embedded_broker)
    assert run("produce", str(file), "--now", "--topic", unique, *broker).returncode == 0
    done = run("backtest", "--from", "1h", "--topic", unique, "--output", "ndjson", *broker)
    assert done.returncode == 0, done.stderr
    (firing,) = ndjson(done.stdout)
    assert firing["type"] == "campaign.alert.firing"
    assert firing["data"]["evidence"]["hits"] == 200
    done = run("backtest", "--from", "1h", "--topic", f"{unique}-none", *broker)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"campaign-streams: there is no topic {unique}-none")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "expected files of events, or --counts FILE, or --from TIME"),
        (("--from", "1h", "--counts", "{counts}"), "one of them"),
        (("{counts}", "--counts", "{counts}"), "one of them"),
        (("--counts", "{counts}", "--topic", "t"), "--topic needs --from TIME"),
        (("--counts", "/none"), "'/none' does not exist"),
        (("--from", "yesterday"), "expected a time such as"),
        (("--counts", "{counts}", "--against", "/none"), "'/none' does not exist"),
        (("--counts", "{counts}", "--config", "/none"), "/none: cannot be read"),
        (("--counts", "{counts}", "--output", "xml"), "'xml' is not one of"),
    ],
)
def test_wrong_usage_is_named(counts: str, arguments: tuple[str, ...], named: str) -> None:
    done = run("backtest", *(each.format(counts=counts) for each in arguments))
    assert (done.returncode, done.stdout) == (2, b"")
    assert named in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_what_was_decided_before_a_broken_line_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "counts.ndjson"
    file.write_bytes(b"\n".join([*lines(), b'{"at": 5}']))
    done = run("backtest", "--counts", str(file), "--output", "ndjson")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"campaign-streams: {file}, line 601: at is 5: expected milliseconds since the epoch, from "
        "2010 on and before the year 3000\n"
    )


def test_a_file_that_is_cut_off_fails(counts: str) -> None:
    file = Path(counts)
    file.write_bytes(file.read_bytes()[:-50])
    done = run("backtest", "--counts", counts)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].endswith("the gzip data ends early")


def test_what_is_no_event_is_left_out_and_told(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    event = b'{"event_type":"_campaign.send","event_timestamp":%d}' % START
    file.write_bytes(b"\n".join([event, b"nonsense", event]))
    done = run("backtest", str(file))
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        (f"campaign-streams: warning: 2 not counted, missing-field: the first at {file}, byte 0"),
        (
            "campaign-streams: 1 left out, not a JSON object: the first at "
            f"{file}, line 2, byte {len(event) + 1}"
        ),
    ]


def test_statuses_in_no_group_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "counts.ndjson"
    line = {"at": START, "campaign_id": "c", "counts": [["FAILUR", None, None, None, 3]]}
    file.write_text(json.dumps(line))
    done = run("backtest", "--counts", str(file))
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "campaign-streams: warning: 3 sends with status FAILUR, which is in no group, did you mean "
        "FAILURE?\n"
    )


def test_config_check_runs_tests_of_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules_test.yaml"
    text = (
        "tests:\n"
        "  - name: all fail\n"
        "    input: [{campaign: c, counts: {FAILURE: 100}}]\n"
        "    expect: [{at: 0s, type: firing, rule: failure-spike, campaign: c}]\n"
    )
    file.write_text(text)
    done = run("config", "check", "--tests", str(file))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[-1] == f"{file}: 1 of 1 rule tests passed"

    file.write_text(text.replace("at: 0s", "at: 9s"))
    done = run("config", "check", "--tests", str(file))
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[-1] == f"{file}: 0 of 1 rule tests passed"
    assert done.stderr.decode().splitlines() == [
        f"campaign-streams: {file}:2: FAILED all fail",
        f"campaign-streams: {file}:2:   expected  9s firing failure-spike c (within 1s)",
        (
            f"campaign-streams: {file}:2:   seen      0s firing failure-spike c: failure-spike "
            "firing in campaign c: 100 of 100 attempts (100.0%) since 2026-01-01T00:00:00Z; all "
            "parts alike"
        ),
    ]

    file.write_text("tests: 5")
    assert run("config", "check", "--tests", str(file)).returncode == 2
