"""`routes test` as people and programs use it: by a file of configuration, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.commands import main
from tests.support.kinds import HOSTILE

SECRET = "whsec_" + "A" * 32
TEXT = f"""\
rules:
- name: fails
  group: failure
  labels: {{team: crm}}
  match: {{campaigns: [spring-*], apps: [shop]}}
- {{name: slow, group: throttled, severity: warning, scope: channel, receivers: [ops]}}
receivers:
- {{name: ops, url: "https://a.example/", secrets: [{SECRET}]}}
- name: pager
  kind: pagerduty
  routing_key: {"K" * 32}
  matchers: [severity=critical, 'campaign_id=~"spring-.*"']
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(TEXT, "utf-8")
    return "my.yaml"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["routes", "test", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def answer(config: str, capsys: pytest.CaptureFixture[str], *labels: str) -> dict[str, Any]:
    assert run(*labels, "--json", "--config", config) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_table_says_who_and_why_not(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rule=fails", "campaign_id=summer", "--config", config) == 0
    out, err = capsys.readouterr()
    rows = [line.split(maxsplit=3) for line in out.splitlines()]
    assert rows[0][:3] == ["receiver", "kind", "notified"]
    assert rows[1] == ["ops", "webhook", "yes", "-"]
    assert rows[2][:3] == ["pager", "pagerduty", "no"]
    assert rows[2][3].strip() == (
        'campaign_id=~"spring-.*" does not match: campaign_id is "summer"'
    )
    assert err == "note: rule fails does not watch this campaign: see its match.campaigns\n"


def test_severity_and_labels_come_from_the_rule(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(config, capsys, "rule=fails", "campaign_id=spring-1", "app_id=shop")
    assert found == {
        "labels": {
            "team": "crm",
            "rule": "fails",
            "severity": "critical",
            "campaign_id": "spring-1",
            "app_id": "shop",
            "treatment_id": "",
            "channel_type": "",
        },
        "receivers": [
            {"name": "ops", "kind": "webhook", "notified": True, "reason": None, "detail": None},
            {
                "name": "pager",
                "kind": "pagerduty",
                "notified": True,
                "reason": None,
                "detail": None,
            },
        ],
        "notes": [],
    }


def test_a_receiver_that_the_rule_does_not_name(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(config, capsys, "rule=slow", "channel_type=SMS")
    assert [(each["name"], each["reason"]) for each in found["receivers"]] == [
        ("ops", None),
        ("pager", "not-named"),
    ]
    assert found["notes"] == []


def test_labels_that_no_alert_of_the_rule_has_are_noted(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("rule=fails", "severity=info", "teem=crm", "channel_type=SMS", "app_id=x")
    assert answer(config, capsys, *labels)["notes"] == [
        "alerts of rule fails have severity=critical",
        "alerts of rule fails have no label teem: did you mean team?",
        "alerts of rule fails have no channel_type, as its scope is campaign",
        "rule fails does not watch this app: see its match.apps",
    ]


@pytest.mark.parametrize(
    ("verify", "status", "said"),
    [
        ("ops,pager", 0, ""),
        ("pager, ops", 0, ""),
        ("ops", 1, "campaign-streams: expected ops to be notified, found ops, pager\n"),
        ("", 1, "campaign-streams: expected nobody to be notified, found ops, pager\n"),
    ],
)
def test_verify(
    verify: str, status: int, said: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("rule=fails", "campaign_id=spring-1")
    assert run(*labels, "--verify", verify, "--config", config) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["severity=critical"], "the label rule is missing, as each alert is of a rule (known"),
        (["rule=failz"], "there is no rule failz (did you mean fails?)"),
        (["rule=x"], "there is no rule x (known rules: fails, slow)"),
        (["rule=fails", "critical"], "critical is no label: expected name=value"),
        (["rule=fails", "=x"], "=x is no label"),
        (["rule=fails", "rule=slow"], "label rule is there twice"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line(
    labels: list[str], message: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*labels, "--config", config) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert message in line


@pytest.mark.parametrize("name", [each for each in HOSTILE if "\x00" not in each] + ["a=b=c"])
def test_hostile_values_are_whole_in_json_and_harmless_in_a_terminal(
    name: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("rule=fails", f"campaign_id={name}")
    assert answer(config, capsys, *labels)["labels"]["campaign_id"] == name
    assert run(*labels, "--config", config) == 0
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert max(map(len, (out + err).splitlines())) < 300
    assert run("rule=fails", f"no label {name.replace('=', '')}", "--config", config) == 2
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


def test_without_receivers_there_is_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text("rules: [{name: a, group: failure}]")
    assert run("rule=a", "--config", str(tmp_path / "my.yaml"), "--verify", "") == 0
    assert capsys.readouterr().out == "no receiver is configured\n"
