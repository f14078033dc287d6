"""Matchers of receivers in the configuration: what is refused, and what is doubted."""

from pathlib import Path
from typing import Any

import pytest

from streams.configuration.doubts import doubts
from streams.configuration.load import load
from streams.configuration.models import Configuration
from streams.configuration.translation import partition_settings_of
from streams.domain.silences.matchers import Matcher
from streams.errors import ConfigurationError

SECRET = "whsec_" + "A" * 32


def configured(rules: list[dict[str, Any]], **matchers: list[str]) -> Configuration:
    receivers = [
        {"name": name, "url": "https://a.example/", "secrets": [SECRET], "matchers": each}
        for name, each in matchers.items()
    ]
    return Configuration.model_validate({"rules": rules, "receivers": receivers})


CRITICAL = {"name": "fails", "group": "failure", "labels": {"team": "crm"}}
WARNING = {"name": "slow", "group": "throttled", "severity": "warning", "scope": "channel"}


def test_they_come_from_the_file_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        f"receivers:\n- name: ops\n  url: https://a.example/\n  secrets: [{SECRET}]\n"
        '  matchers: [severity="critical", campaign_id=~"spring-(a|b).*", team!=x]\n'
    )
    found = partition_settings_of(load(path, {}, {}), None).matchers
    assert found == {
        "ops": (
            Matcher("severity", "=", "critical"),
            Matcher("campaign_id", "=~", "spring-(a|b).*"),
            Matcher("team", "!=", "x"),
        )
    }
    environ = {"CAMPAIGN_STREAMS_RECEIVERS__0__MATCHERS": "rule=a,severity=info"}
    changed = partition_settings_of(load(path, environ, {}), None).matchers["ops"]
    assert changed == (Matcher("rule", "=", "a"), Matcher("severity", "=", "info"))


@pytest.mark.parametrize(
    ("matcher", "message"),
    [
        ("critical", "is no matcher: expected a label, one of = != =~ !~ and a value"),
        ('"severity=~("', "the pattern '('"),
        ('"a=~(?=b)"', "the pattern '(?=b)'"),
        ('"a=\\"b"', "that is not closed"),
        ("5", "expected text, put it in quotes"),
    ],
)
def test_what_is_no_matcher_stops_the_start_and_names_the_key(
    matcher: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        f"receivers:\n- name: ops\n  url: https://a.example/\n  secrets: [{SECRET}]\n"
        f"  matchers:\n  - rule=a\n  - {matcher}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(path, {}, {})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:7: receivers[0].matchers[1]")
    assert message in line


@pytest.mark.parametrize(
    ("matchers", "told"),
    [
        ({"ops": []}, []),
        ({"ops": ["team=crm"]}, ['nobody is told of alerts of rule slow: team="crm" does not']),
        ({"ops": [], "pager": ["team=crm"]}, []),
        ({"ops": [], "pager": ["channel_type=SMS", "severity=warning"]}, []),
        (
            {"ops": [], "pager": ["treatment_id=0"]},
            ['receiver pager gets nothing: treatment_id="0" does not match'],
        ),
        (
            {"ops": [], "pager": ["severity=critcal", "campaign_id=c"]},
            ['receiver pager gets nothing: severity="critcal" does not match'],
        ),
        (
            {"ops": [], "pager": ["severty!=info"]},
            ["receiver pager asks for label severty, which no rule has: did you mean severity?"],
        ),
        (
            {"ops": ["severity=info"]},
            [
                'receiver ops gets nothing: severity="info" does not match: severity is "critical"',
                "nobody is told of alerts of rule fails: ",
                "nobody is told of alerts of rule slow: ",
            ],
        ),
    ],
)
def test_what_can_never_match_is_doubted(matchers: dict[str, list[str]], told: list[str]) -> None:
    found = doubts(configured([CRITICAL, WARNING], **matchers))
    assert len(found) == len(told), found
    assert all(line.startswith(begin) for line, begin in zip(found, told, strict=True)), found


def test_a_receiver_that_no_rule_names_and_a_file_without_rules_are_not_doubted() -> None:
    assert doubts(configured([{**CRITICAL, "receivers": ["ops"]}], ops=[], dev=["rule=x"])) == []
    assert doubts(configured([], ops=["team=crm"])) == []
