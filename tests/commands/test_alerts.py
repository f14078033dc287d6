"""`alerts acknowledge` against a real server whose partitions are committed meanwhile."""

import asyncio
import getpass
import json
from collections.abc import Iterator

import pytest

from streams.commands import main
from tests.api.conftest import NOW, RunningApi
from tests.commands.test_query import Background
from tests.support.partitions import commit_all


@pytest.fixture
def api() -> Iterator[RunningApi]:
    background = Background()
    with background as started:
        committing = asyncio.run_coroutine_threadsafe(
            commit_all(started.holder, NOW), background._loop
        )
        yield started
        committing.cancel()


def alerts(api: RunningApi, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["alerts", "acknowledge", "--url", f"http://127.0.0.1:{api.port}", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def firing(api: RunningApi) -> str:
    every = [p.alerts.live() for p in api.holder.here.values()]
    ((alert,),) = [each for each in every if each]
    return alert.alert_id


def test_a_table_and_json(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    alert_id = firing(api)
    assert alerts(api, alert_id, "--by", "Ana\x1b[31m", "--comment", "[bold]on it & away") == 0
    out = capsys.readouterr().out
    for expected in (alert_id, "failure-spike", "a/b", "Ana\\x1b[31m", "[bold]on it & away"):
        assert expected in out
    assert alerts(api, alert_id, "--by", "ben", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["alert"]["acknowledged"]["by"] == "Ana\x1b[31m", "whoever was first"


def test_who_is_logged_in_acknowledges(
    api: RunningApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert alerts(api, firing(api)) == 2
    assert "--by: " in capsys.readouterr().err
    monkeypatch.setattr(getpass, "getuser", lambda: "carl")
    assert alerts(api, firing(api)) == 0
    assert "carl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["none"], 1, "there is no alert none"),
        (["none", "--by", "x" * 101], 2, "by=xxx"),
        (["..", "--comment", "y" * 501], 2, "comment=yyy"),
    ],
)
def test_mistakes_are_one_line(
    api: RunningApi,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    assert alerts(api, "--by", "ana", *arguments) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
