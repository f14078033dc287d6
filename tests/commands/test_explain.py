"""`campaign-streams explain` against a real server."""

import json
from collections.abc import Iterator

import pytest

from streams.api.client import ApiClient
from streams.commands import main
from streams.commands.explain import below
from tests.api.conftest import RunningApi
from tests.commands.test_query import Background


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    with Background() as started:
        yield started


def explain(api: RunningApi, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["explain", *arguments, "--url", api.url])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_table_says_why(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(api, "a/b", "--rule", "failure-spike") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for words in ("standing", "firing", "40 of 200", "it has been firing since 2026-11-23T10:00"):
        assert words in printed.out
    assert explain(api, "..") == 0
    assert "it takes 10" in capsys.readouterr().out
    assert explain(api, "\x1b[31m[bold]red") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_json_is_the_answer_and_csv_has_a_row_for_each_rule(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(api, "a/b", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in answer["standings"][0]["requirements"]] == [
        "attempts",
        "evidence",
    ]
    assert explain(api, "a/b", "--output", "csv") == 0
    title, row = capsys.readouterr().out.splitlines()
    assert title.startswith("rule,detector,treatment_id,channel_type,standing,why")
    assert row.startswith("failure-spike,threshold,,,firing,")


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["nobody"], 1, "no retained window has a campaign nobody"),
        (["a/b", "--rule", "failure-spice"], 2, "did you mean failure-spike?"),
        (["a/b", "--at", "yesterday"], 2, "at=yesterday: expected a time"),
        (["a/b", "--at", "2026-11-23T09:00:00Z"], 2, "retained windows begin at"),
        ([], 2, "CAMPAIGN_ID"),
    ],
)
def test_mistakes_say_what_to_do(
    api: RunningApi,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    named: str,
) -> None:
    assert explain(api, *arguments) == status
    assert named in capsys.readouterr().err


def test_below_the_table_is_what_holds_and_what_does_not(api: RunningApi) -> None:
    client = ApiClient(api.url, None, None)
    lines = list(below(client.get("v1", "campaigns", "..", "explain")))
    assert lines[0] == "at 2026-11-23T09:59:59Z"
    assert "failure-spike: lacks: 3 attempts are judged together, and it takes 10" in lines
    firing = list(below(client.get("v1", "campaigns", "a/b", "explain")))
    assert "failure-spike: holds: 200 attempts are judged together, and it takes 10" in firing
    assert any(line.startswith("failure-spike fired from 2026-11-23T10:00:00Z") for line in firing)
