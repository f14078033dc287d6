"""`receivers test` as people and programs use it, against a server on loopback."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import pytest
from aiohttp import web

from streams.commands import main
from tests.support.kinds import SLACK_PATH
from tests.support.pagerduty import ROUTING_KEY
from tests.support.receiver import SECRET, Answer, Collector, status
from tests.support.slack_api import NAME, TOKEN, Workspace

T = TypeVar("T")


class Done(NamedTuple):
    """What came of a command."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


class Background:
    """A server in a thread of its own, since the command blocks."""

    def __init__(self, *answers: Answer) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._answers = answers

    def __enter__(self) -> Collector:
        self._thread.start()
        self._collector = self._call(self._make())
        return self._call(self._collector.__aenter__())

    def __exit__(self, *_: object) -> None:
        self._call(self._collector.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _make(self) -> Collector:
        return Collector(*self._answers, check=lambda _, __: None)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def configuration(port: int, *, allow: str = "[127.0.0.0/8]") -> str:
    url = f"http://127.0.0.1:{port}"
    return f"""\
delivery: {{allow_http: true, allow_networks: {allow}}}
receivers:
- {{name: ops, url: "{url}/hook?key=hunter2-hunter2", secrets: [{SECRET}], timeout: 3s}}
- {{name: pager, kind: pagerduty, url: "{url}/v2", routing_key: {ROUTING_KEY}, matchers: [rule=x]}}
- {{name: chat, kind: slack, url: "{url}/", webhook_path: {SLACK_PATH}}}
- {{name: bot, kind: slack, url: "{url}/api/", token: {TOKEN}, channel: "{NAME}"}}
- {{name: events, kind: cloudevents, url: "{url}/e", token: t0ken-t0ken-t0ken}}
- name: words
  kind: slack
  url: "{url}/"
  webhook_path: {SLACK_PATH}
  title: "{{{{ labels.team }}}}"
rules:
- {{name: fails, group: failure, labels: {{team: crm}}}}
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(port: int, *arguments: str, allow: str = "[127.0.0.0/8]") -> Done:
        (tmp_path / "my.yaml").write_text(configuration(port, allow=allow), "utf-8")
        with pytest.raises(SystemExit) as caught:
            main(["receivers", "test", *arguments, "--config", str(tmp_path / "my.yaml")])
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return call


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with all that was sent, as a receiver does that is under test itself."""
    sent = {"url": str(request.rel_url), "headers": dict(request.headers)}
    return web.json_response({**sent, "body": (await request.read()).decode()}, status=400)


def test_people_see_the_exchange(run: Run) -> None:
    with Background(status(200, "got it\nthank you", x_id="7")) as server:
        done = run(server.port, "ops")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == [
        "ops (webhook): campaign.alert.firing",
        "> POST /hook?******** HTTP/1.1",
        f"> Host: 127.0.0.1:{server.port}",
    ]
    arrival = server.arrivals[0]
    assert f"> webhook-signature: {arrival.headers['webhook-signature']}" in lines
    assert f"> {arrival.body.decode()}" in lines
    answered = lines[lines.index("< 200 OK") :]
    assert "< x-id: 7" in answered
    assert answered[answered.index("< ") :][:3] == ["< ", "< got it", "< thank you"]
    assert any(line.startswith("accepted with 200, in ") for line in lines)
    assert "ops (webhook): campaign.alert.resolved" in lines
    assert lines[-1].startswith("accepted with 204, in ")
    assert len(server.arrivals) == 2


def test_programs_get_the_same_as_json(run: Run) -> None:
    with Background(status(202, "{}")) as server:
        done = run(server.port, "pager", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert (found["receiver"], found["kind"], found["accepted"]) == ("pager", "pagerduty", True)
    first, second = found["exchanges"]
    assert [each["transition"] for each in (first, second)] == [
        "campaign.alert.firing",
        "campaign.alert.resolved",
    ]
    (request,) = first["requests"]
    assert request["line"] == "POST /v2 HTTP/1.1"
    body = json.loads(request["body"])
    sent = orjson.loads(server.arrivals[0].body)
    assert body == {**sent, "routing_key": "********"}
    assert sent["routing_key"] == ROUTING_KEY
    assert (request["answer"]["status"], request["answer"]["body"]) == (202, "{}")
    assert first["meaning"] == "accepted with 202"


@pytest.mark.parametrize("name", ["ops", "pager", "chat", "bot", "events"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_are_hidden_also_where_the_answer_repeats_them(
    name: str, form: tuple[str, ...], run: Run
) -> None:
    with Background(echo) as server:
        done = run(server.port, name, *form)
    assert done.status == 1
    shown = done.out + done.err
    assert "********" in shown
    for secret in ("hunter2", SECRET, SECRET[6:], ROUTING_KEY, *SLACK_PATH.split("/"), "t0ken"):
        assert secret not in shown
    assert TOKEN not in shown
    assert len(server.arrivals) == 1, "what it refuses is not resolved"


def test_all_requests_of_a_bot_are_seen(run: Run) -> None:
    slack = Workspace()
    with Background(*[slack.call] * 3) as server:
        done = run(server.port, "bot")
    assert (done.status, done.err, slack.refusals) == (0, "", [])
    lines = [line for line in done.out.splitlines() if line.startswith("> POST")]
    assert lines == [
        "> POST /api/chat.postMessage HTTP/1.1",
        "> POST /api/chat.update HTTP/1.1",
        "> POST /api/chat.postMessage HTTP/1.1",
    ]
    (shown,) = slack.messages.values()
    assert shown.titles == ["[TEST] Firing", "[TEST] Resolved"]
    assert len(shown.replies) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status(500, "busy"), "not accepted, HTTP status 500: busy; a worker would try again"),
        (status(503, Retry_After="7"), "a worker would try again, after the 7 s that it asks for"),
        (status(410), "not accepted, HTTP status 410; a worker would disable the receiver"),
        (status(301, Location="http://x/"), "HTTP status 301; redirects are not followed"),
    ],
)
def test_what_is_not_accepted_is_an_error_in_one_line(answer: Answer, why: str, run: Run) -> None:
    with Background(answer) as server:
        done = run(server.port, "ops")
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert line.startswith("campaign-streams: receiver ops: not accepted, ")
    assert why in line


def test_the_check_of_addresses_is_in_force(run: Run) -> None:
    with Background() as server:
        done = run(server.port, "ops", allow="[10.0.0.0/8]")
    assert (done.status, done.out) == (1, "ops (webhook): campaign.alert.firing\n")
    assert "127.0.0.1 is not a public address; delivery.allow_networks can allow it" in done.err
    assert server.arrivals == []


def test_what_an_answer_says_steers_no_terminal(run: Run) -> None:
    text = "\x1b[2J\x07\u202eevil\r\nnext\x00" + "y" * 3_000
    with Background(status(400, text, X_Odd="\x9b31m")) as server:
        done = run(server.port, "ops")
        as_json = run(server.port, "ops", "--json")
    lines = (done.out + done.err).splitlines()
    assert all(line.isprintable() for line in lines)
    assert max(len(line) for line in lines if line.startswith("< ")) <= 1_100
    assert as_json.status == 0
    assert all(line.isprintable() for line in as_json.out.splitlines())


def test_a_compressed_answer_is_not_shown(run: Run) -> None:
    with Background(status(400, "\x1f\x8bxxxx", Content_Encoding="gzip")) as server:
        done = run(server.port, "ops")
    assert "xxxx" not in done.out + done.err


def test_the_built_in_title_is_sent_and_told_if_a_template_fails(run: Run) -> None:
    with Background() as server:
        done = run(server.port, "words")
    assert done.status == 0
    assert "the template of title cannot be rendered: there is no 'team'" in done.out
    assert (
        server.arrivals[0].value["blocks"][0]["text"]["text"] == "[TEST] Firing: test-alert (info)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("opz",), "there is no receiver opz (did you mean ops?)"),
        (("\x1b[31m",), "there is no receiver \\x1b[31m (known receivers: ops, pager, chat,"),
        (("x" * 5_000,), "known receivers: ops"),
        (("ops", "--resolve-after", "soon"), "expected a duration such as 200ms"),
        ((), "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], message: str, run: Run) -> None:
    done = run(9, *arguments)
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert message in line
    assert len(line) < 400
    assert line.isprintable()


def test_the_alert_fires_for_as_long_as_is_said(run: Run) -> None:
    with Background() as server:
        done = run(server.port, "ops", "--resolve-after", "700ms")
    assert done.status == 0
    first, second = server.arrivals
    assert second.at - first.at >= 0.7
