"""What whoever tries a mail server sees: commands and answers, and nothing that logs in."""

import asyncio
import base64
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from streams.commands import main
from streams.receivers.outcomes import Delivered, Retry
from streams.receivers.receiver import Line
from streams.receivers.smtp_dialogue import Dialogue
from streams.settings import HIDDEN
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from streams.webhooks.trials import Exchange, Trial
from tests.support.kinds import mail
from tests.support.smtp import BODY, DROP, GREETING, HANG, MailServer, context_of_client

T = TypeVar("T")
USER, PASSWORD = "alerts", "s3cret+/=s3cret"
LOGIN = {"user": USER, "password": PASSWORD}
SECRETS = (
    PASSWORD,
    base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode(),
    base64.b64encode(PASSWORD.encode()).decode(),
)
CHALLENGES = {
    "AUTH": b"334 VXNlcm5hbWU6\r\n",
    base64.b64encode(USER.encode()).decode(): b"334 UGFzc3dvcmQ6\r\n",
    SECRETS[2]: b"235 hello\r\n",
}


async def tried(answers: dict[str, bytes], **changes: Any) -> list[Exchange]:
    def client_with(hooks: Hooks) -> WebhookClient:
        return WebhookClient(Guard(["127.0.0.0/8"]), tls=context_of_client(), hooks=hooks)

    async with MailServer(answers) as there:
        settings = {"server": f"localhost:{there.port}", "tls": "none", "timeout": 20.0}
        to = mail(**{**settings, **changes})
        return [each async for each in Trial(client_with).exchanges(to)]


async def test_commands_and_answers_are_seen() -> None:
    firing, resolved = await tried({}, to=["ops@example.com"])
    assert [each.outcome for each in (firing, resolved)] == [Delivered(250)] * 2
    said = [(each.sent, each.text) for each in firing.conversation]
    (before, mailed, after) = said[:8], said[8], said[9:]
    assert before == [
        (False, "220 mail.example ESMTP"),
        (True, "EHLO [127.0.0.1]"),
        (False, "250-mail.example\n250-STARTTLS\n250 AUTH PLAIN"),
        (True, "MAIL FROM:<alerts@example.com>"),
        (False, "250 OK"),
        (True, "RCPT TO:<ops@example.com>"),
        (False, "250 OK"),
        (True, "DATA"),
    ]
    assert mailed == (False, "354 go on")
    assert after[0][0]
    assert "\r\nSubject: [TEST] test-alert (info): campaign" in after[0][1]
    assert after[0][1].endswith("\r\n.")
    assert after[1:] == [(False, "250 queued as 1"), (True, "QUIT")]


@pytest.mark.parametrize(
    ("answers", "mechanism"),
    [
        ({}, f"AUTH PLAIN {HIDDEN}"),
        ({"AUTH": b"535 wrong\r\n"}, f"AUTH PLAIN {HIDDEN}"),
        (
            {"EHLO": b"250-mail.example\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n", **CHALLENGES},
            f"AUTH LOGIN {HIDDEN}",
        ),
        (
            {
                "EHLO": b"250-mail.example\r\n250-STARTTLS\r\n250 AUTH CRAM-MD5\r\n",
                "AUTH": b"334 PDEyMzQ1QG1haWwuZXhhbXBsZT4=\r\n",
            },
            "AUTH CRAM-MD5",
        ),
    ],
    ids=["plain", "refused", "login", "challenge"],
)
async def test_nothing_that_logs_in_is_seen(answers: dict[str, bytes], mechanism: str) -> None:
    # The server hangs up on commands that it does not know, as on the answer to a challenge.
    exchanges = await tried(answers, tls="starttls", **LOGIN)
    said = [each.text for each in exchanges[0].conversation]
    assert mechanism in said
    for secret in SECRETS:
        assert not any(secret in each for each in said)
    assert "STARTTLS" in said
    after = said[said.index(mechanism) + 1 :]
    if "334" in "".join(after):
        assert HIDDEN in after


def test_what_follows_the_login_is_seen_again() -> None:
    seen: list[Line] = []
    dialogue = Dialogue(seen.append)
    dialogue.sent(b"auth login\r\n")
    dialogue.answered(334, "VXNlcm5hbWU6")
    dialogue.sent(b"YWxlcnRz\r\n")
    dialogue.answered(334, "UGFzc3dvcmQ6")
    dialogue.sent(b"AUTH\r\n")  # whatever a password may look like
    dialogue.answered(235, "hello")
    dialogue.sent(b"MAIL FROM:<a@example.com>\r\n")
    assert [each.text for each in seen if each.sent] == [
        "auth login",
        HIDDEN,
        HIDDEN,
        "MAIL FROM:<a@example.com>",
    ]


@pytest.mark.parametrize(
    ("answers", "last", "count"),
    [
        ({GREETING: b"554 no service\r\n"}, "554 no service", 1),
        ({"MAIL": b"550 no such sender\r\n"}, "550 no such sender", 1),
        ({"MAIL": DROP}, "MAIL FROM:<alerts@example.com>", 1),
        ({BODY: DROP}, ".", 2),  # it may have the mail
        ({BODY: HANG}, ".", 2),
        ({BODY: b"451 later\r\n"}, "451 later", 1),
    ],
)
async def test_what_was_said_last_is_seen_and_only_what_may_be_there_is_resolved(
    answers: dict[str, bytes], last: str, count: int
) -> None:
    exchanges = await tried(answers, timeout=1.0 if HANG in answers.values() else 20.0)
    said = [each.text for each in exchanges[0].conversation if each.text != "QUIT"]
    assert said[-1].split("\r\n")[-1] == last
    assert len(exchanges) == count
    assert not exchanges[0].accepted


async def test_without_a_connection_nothing_is_said() -> None:
    def client_with(hooks: Hooks) -> WebhookClient:
        return WebhookClient(Guard(), hooks=hooks)

    to = mail(server="127.0.0.1:9", tls="none")
    (only,) = [each async for each in Trial(client_with).exchanges(to)]
    assert isinstance(only.outcome, Retry)
    assert (only.requests, only.conversation) == ((), ())


class ServerThread:
    """A mail server in a thread of its own, since the command blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> MailServer:
        self._thread.start()
        self._server = MailServer()
        return self._call(self._server.__aenter__())

    def __exit__(self, *_: object) -> None:
        self._call(self._server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_people_and_programs_see_it(
    form: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ServerThread() as there:
        path = tmp_path / "my.yaml"
        path.write_text(
            "delivery: {allow_networks: [127.0.0.0/8]}\n"
            f'receivers: [{{name: mail, kind: email, server: "localhost:{there.port}", '
            f"tls: none, sender: a@example.com, "
            "to: [ops@example.com]}]\n",
            "utf-8",
        )
        with pytest.raises(SystemExit) as caught:
            main(["receivers", "test", "mail", *form, "--config", str(path)])
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    if form:
        said = json.loads(out)["exchanges"][0]["conversation"]
        assert said[0] == {"sent": False, "text": "220 mail.example ESMTP"}
        assert said[1] == {"sent": True, "text": "EHLO [127.0.0.1]"}
    else:
        lines = out.splitlines()
        assert lines[:2] == ["mail (email): campaign.alert.firing", "< 220 mail.example ESMTP"]
        assert "< 250-STARTTLS" in lines
        assert "> RCPT TO:<ops@example.com>" in lines
        assert "> ." in lines
        assert any(line.startswith("accepted with 250, in ") for line in lines)
        assert sum(line.startswith("> Subject: Re: [TEST]") for line in lines) == 1
