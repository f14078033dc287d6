import json
from pathlib import Path

import pytest

from streams.backtest.labels import Label, read_labels
from streams.errors import UserError
from streams.traffic.plans import make_plan

GOOD = {"campaign_id": "c", "start_ms": 1, "end_ms": 2, "statuses": ["FAILURE"]}


def test_reads_what_simulate_writes(tmp_path: Path) -> None:
    plan = make_plan(seed=1, start_ms=1_767_225_600_000, duration_ms=600_000, incidents=2)
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(label.document()) + "\n\n" for label in plan.labels()))
    read = read_labels(file)
    assert [(each.campaign_id, each.kind, each.decoy) for each in read] == [
        (each.campaign_id, each.kind, each.decoy) for each in plan.labels()
    ]
    assert len(read) == 4


def test_needs_little(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(json.dumps(GOOD))
    assert read_labels(file) == [Label("c", 1, 2, ("FAILURE",))]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "is no label"),
        ("[]", "is no label"),
        (json.dumps({**GOOD, "start_ms": "x"}), "start_ms"),
        (json.dumps({**GOOD, "end_ms": 1}), "end_ms is 1: expected more than start_ms"),
        (json.dumps({**GOOD, "statuses": []}), "without statuses"),
        (json.dumps({**GOOD, "start_ms": 10**40}), "is no label"),
        ("\x1b[31m" * 99, "is no label"),
    ],
)
def test_names_the_line_that_is_none(tmp_path: Path, line: str, named: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_labels(file)
    assert str(caught.value).startswith(f"{file}, line 2: ")
    assert named in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none"):
        read_labels(tmp_path / "none")
