"""The command against a real server; its answers are read as a person and as a program would."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streams.commands import main
from streams.configuration.http import HttpSettings
from streams.domain.delivery_attempts import AttemptRecord
from tests.api.conftest import NOW, RunningApi, running
from tests.api.test_groups import BY_CAUSE, BY_LABELS, view_of
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder
from tests.support.ports import free_port

T0 = int(NOW) - 60
TOKEN, DIGEST = "secret", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


def held() -> MemoryHolder:
    made = holder(numbers=[0, 1, 2, 3])
    made.add("..", T0, counts({"SUCCESS": 3}))
    made.add("a/b", T0, counts({"SUCCESS": 60, "FAILURE": 40}, "0"))
    made.add("a/b", T0, counts({"SUCCESS": 100}, "1"))
    made.add("\x1b[31m[bold]red", T0, counts({"QUIET_TIME": 1}))
    made.add("x" * 4000, T0, counts({"S" * 4000: 1}))
    for partition in made.here.values():
        partition.evaluate(NOW)
        for delivery in partition.deliveries.deliveries():
            attempt = AttemptRecord(1, NOW, 12, "status", 500, "on \x1b[31mfire")
            partition.deliveries.attempted(delivery, attempt)
            partition.deliveries.failed(delivery, "HTTP 500", None)
    return made


class Background:
    """A server in a thread of its own, since the command blocks."""

    def __init__(self, settings: HttpSettings | None = None) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> RunningApi:
        self._thread.start()
        groups = replace(PARTITION_SETTINGS, group_view=view_of(BY_CAUSE, BY_LABELS))
        self._running = running(held(), self._settings, settings=groups)
        entering = asyncio.run_coroutine_threadsafe(self._running.__aenter__(), self._loop)
        return entering.result(30)

    def __exit__(self, *_: object) -> None:
        leaving = self._running.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(leaving, self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    with Background() as started:
        yield started


def query(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["query", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_tables(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        (["campaigns"], ["a/b", "20.00%", "2026-11-23T09:59:00Z", "\\x1b[31m[bold]red"]),
        (["campaign", "a/b"], ["all that is retained", "200", "FAILURE 40, SUCCESS 160"]),
        (["campaign", ".."], ["open window 2026-11-23T09:59:00Z", "SUCCESS 3"]),
        (["windows", "a/b", "--step", "120", "--by", "treatment_id"], ["40.00%", "SUCCESS 100"]),
        (["windows", "a/b", "--from", "2026-11-24T00:00:00Z"], ["start", "counts"]),
        (["compare", "a/b"], ["reference", "40.00%", "not certain"]),
        (["alerts", "--state", "firing"], ["failure-spike", "40 of 200", "critical"]),
        (["groups"], ["channel GCM of no app", "ops 2026-11-23T", "pager not yet", "app_id=shop"]),
        (["groups", "--state", "ended"], ["by labels/", "ended", "labels"]),
        (["rules"], ["failure-spike", "10.00%", "threshold"]),
        (["deliveries", "--state", "given-up"], ["ops", "HTTP 500", "failure-spike"]),
        (["deliveries", "--to", "2026-11-23T09:00:00Z"], ["created", "last error"]),
        (["receivers"], ["ops", "enabled"]),
    ):
        assert query(*arguments, "--url", api.url) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        for words in expected:
            assert words in printed.out, (arguments, printed.out)
        assert "\x1b" not in printed.out
        assert max(map(len, printed.out.splitlines())) < 400, arguments


def test_one_delivery_with_its_attempts(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [d for p in api.holder.here.values() for d in p.deliveries.deliveries()]
    assert query("delivery", held[0].delivery_id, "--url", api.url) == 0
    printed = capsys.readouterr()
    assert "given-up, 1 attempts at" in printed.err
    for words in ("2026-11-23T10:00:00Z", "12", "status", "500", "on \\x1b[31mfire"):
        assert words in printed.out
    assert query("delivery", "none", "--url", api.url) == 1
    assert "there is no delivery none" in capsys.readouterr().err


def test_json_is_the_api_s_answer(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("windows", "a/b", "--by", "treatment_id", "--json", "--url", api.url + "/") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["campaign_id"] == "a/b"
    assert [group["attempts"] for group in answer["windows"][0]["groups"]] == [100, 100]


def test_notes_go_to_standard_error(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("campaigns", "--limit", "1", "--url", api.url) == 0
    assert "there are more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["campaign", "nobody"], 1, "no retained window has a campaign nobody"),
        (["campaigns", "--sort", "x"], 2, "sort=x: expected one of"),
        (["campaigns", "--limit", "many"], 2, "--limit"),
        (["windows", "a/b", "--step", "7"], 2, "step=7: expected a multiple"),
        (["windows"], 2, "CAMPAIGN_ID"),
        (["campaigns", "--token-file", "/nonexistent"], 2, "--token-file /nonexistent"),
    ],
)
def test_mistakes_are_one_line(
    api: RunningApi,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    named: str,
) -> None:
    assert query(*arguments, "--url", api.url) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert named in printed.err
    assert len(printed.err.splitlines()) == 1


def test_a_server_that_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert query("campaigns", "--url", url) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no answer from {url}" in line


def test_a_server_that_is_no_api(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.api.client.ANSWER_WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert query("campaigns", "--url", url) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no answer from {url} (timed out)" in line


def test_a_server_that_speaks_something_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}"

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-\x1b[31mserver\r\n\n")
                # Closed before it is read, the request would be answered by a reset.
                connection.recv(4096)

        greeting = threading.Thread(target=greet)
        greeting.start()
        assert query("campaigns", "--url", url) == 1
        greeting.join(30)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{url} is no campaign-streams API: check the URL (--url)")


def test_a_url_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("localhost:8080", "http://", "http://h:port", "ftp://h"):
        assert query("campaigns", "--url", url) == 2
        assert "is no URL" in capsys.readouterr().err


def test_tokens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = HttpSettings.model_validate(
        {"port": 0, "anonymous": "never", "tokens": [{"name": "reader", "sha256": DIGEST}]}
    )
    with Background(settings) as closed:
        assert query("rules", "--url", closed.url) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "a token is needed" in line
        monkeypatch.setenv("CAMPAIGN_STREAMS_TOKEN", TOKEN)
        assert query("rules", "--url", closed.url) == 0
        monkeypatch.setenv("CAMPAIGN_STREAMS_TOKEN", "another")
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n", "utf-8")
        assert query("rules", "--url", closed.url, "--token-file", str(file)) == 0
