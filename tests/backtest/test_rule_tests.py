import json
from pathlib import Path

import pytest

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.rule_test_runs import run_case
from streams.backtest.rule_tests import read_rule_tests
from streams.configuration.load import read
from streams.errors import ConfigurationError, UserError
from streams.traffic.plans import make_plan
from streams.traffic.simulation import events

SETTINGS = BacktestSettings.of(read(None, {}, {}).configuration)
INCIDENT = """
tests:
  - name: a revoked certificate
    input:
      - campaign: spring
        app: a1
        delivery_type: GCM
        counts:
          SUCCESS: 10x180 5x60 10x360
          FAILURE: _x180 5x60
    expect:
      - {at: 3m13s, type: firing, rule: failure-spike, campaign: spring}
      - {at: 4m59s, type: resolved, rule: failure-spike}
"""


def differences(folder: Path, text: str) -> list[list[str]]:
    file = folder / "rules_test.yaml"
    file.write_text(text, "utf-8")
    return [list(run_case(case, SETTINGS).differences) for case in read_rule_tests(file)]


def test_passes_if_all_is_seen_and_nothing_else(tmp_path: Path) -> None:
    assert differences(tmp_path, INCIDENT) == [[]]


def test_says_what_was_expected_and_what_was_seen(tmp_path: Path) -> None:
    text = INCIDENT.replace("3m13s", "3m9s").replace(
        "rule: failure-spike}", "rule: other, within: 5s}"
    )
    assert differences(tmp_path, text) == [
        [
            "expected  3m9s firing failure-spike spring (within 1s)",
            "expected  4m59s resolved other (within 5s)",
            (
                "seen      3m13s firing failure-spike spring: failure-spike firing in campaign "
                "spring: 70 of 140 attempts (50.0%) since 2026-01-01T00:03:00Z, usually 0.0%; "
                "all parts alike"
            ),
            (
                "seen      4m59s resolved failure-spike spring: failure-spike resolved in campaign "
                "spring after 2 min: 0 of 600 attempts (0.0%) since 2026-01-01T00:03:59Z; peak 300 "
                "of 600 (50.0%); in all 300 of 1,200 since 2026-01-01T00:03:00Z, usually 0.0%; all "
                "parts alike"
            ),
        ]
    ]


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (("at: 3m13s", "at: 3m13.9s"), True),
        (("at: 3m13s", "at: 3m15s"), False),
        (("at: 3m13s", "at: 3m15s, within: 2s"), True),
        (("campaign: spring}", "campaign: winter}"), False),
        (("campaign: spring}", "treatment: t}"), False),
        (("type: resolved", "type: expired"), False),
    ],
)
def test_a_transition_meets_all_that_is_said_of_it(
    tmp_path: Path, change: tuple[str, str], passes: bool
) -> None:
    assert (differences(tmp_path, INCIDENT.replace(*change)) == [[]]) == passes


def test_silence_can_be_expected(tmp_path: Path) -> None:
    text = """
tests:
  - {name: few, input: [{campaign: c, counts: {FAILURE: 3}}], expect: [], until: 1h}
  - {name: many, input: [{campaign: c, counts: {FAILURE: 300}}], expect: []}
"""
    first, second = differences(tmp_path, text)
    assert first == []
    assert second[0].startswith("seen      0s firing failure-spike c: ")


def test_time_goes_on_as_long_as_anything_is_expected(tmp_path: Path) -> None:
    text = """
tests:
  - name: nobody sends any more
    input: [{campaign: c, counts: {FAILURE: 100}, from: 5s}]
    expect:
      - {at: 5s, type: firing, rule: failure-spike}
      - {at: 15m5s, type: expired, rule: failure-spike}
"""
    assert differences(tmp_path, text) == [[]]


def test_late_counts_raise_nothing(tmp_path: Path) -> None:
    text = """
tests:
  - name: late
    input:
      - {campaign: c, every: 10s, counts: {SUCCESS: 100x60}}
      - {campaign: c, from: 9m, late_by: 5m, counts: {FAILURE: 500}}
    expect: []
"""
    assert differences(tmp_path, text) == [[]]


def test_events_are_read_from_a_file_beside_the_tests(tmp_path: Path) -> None:
    start = 1_767_225_600_000
    plan = make_plan(seed=4, start_ms=start, duration_ms=30_000, campaigns=2, rate=5.0, incidents=0)
    content = b"\n".join(value for _, value in events(plan))
    (tmp_path / "events.ndjson").write_bytes(content)
    text = """
tests:
  - {name: calm, input: [{events: events.ndjson}], expect: []}
  - name: not so
    start: 2026-01-01T00:00:00Z
    input: [{events: events.ndjson}]
    expect: [{at: 1s, type: firing, rule: failure-spike}]
"""
    assert differences(tmp_path, text) == [
        [],
        ["expected  1s firing failure-spike (within 1s)"],
    ]


def test_events_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    text = "tests:\n  - {name: none, input: [{events: none.ndjson}], expect: []}"
    with pytest.raises(UserError, match=r"rules_test.yaml:2: cannot read .*none.ndjson: No such"):
        differences(tmp_path, text)
    (tmp_path / "none.ndjson").write_text(json.dumps({}) + "\nnonsense")
    with pytest.raises(UserError, match=r"rules_test.yaml:2: .*line 2.*: not a JSON object"):
        differences(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "tests is missing"),
        ("tests: []", "tests: expected at least one"),
        ("test: []", "test is not known, did you mean tests?"),
        ("tests: [{name: x, expect: []}]", "tests[0].input is missing"),
        (
            "tests: [{name: x, input: [{campain: c, counts: {A: 1}}], expect: []}]",
            "tests[0].input[0].campain is not known, did you mean campaign?",
        ),
        (
            "tests: [{name: x, input: [{campaign: c}], expect: []}]",
            "expected campaign and counts, or events",
        ),
        (
            "tests: [{name: x, input: [{events: e, campaign: c}], expect: []}]",
            "expected events alone",
        ),
        (
            "tests: [{name: x, input: [{events: e}, {campaign: c, counts: {A: 1}}], expect: []}]",
            "expected counts or events as the input, not both",
        ),
        (
            "tests: [{name: x, input: [{campaign: c, counts: {A: 1xx}}], expect: []}]",
            'counts.A is "1xx": expected values such as',
        ),
        (
            "tests: [{name: x, start: noon, input: [{events: e}], expect: []}]",
            'tests[0].start is "noon": expected a time such as',
        ),
        (
            "tests: [{name: x, start: 1999-01-01, input: [{events: e}], expect: []}]",
            "expected a time from 2010 on",
        ),
        (
            "tests: [{name: x, input: [{events: e}], expect: [{at: 1s, rule: r, type: fires}]}]",
            "tests[0].expect[0].type is",
        ),
        (
            "tests: [{name: x, input: [{events: e}], expect: [{at: soon, rule: r, type: firing}]}]",
            "tests[0].expect[0].at is",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        differences(tmp_path, text)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
