"""What comes of a mail, by what its server says and does; the way out is the real one."""

import asyncio
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import structlog

from streams.domain import transitions
from streams.receivers.outcomes import Delivered, GiveUp, Outcome, Retry
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from tests.support.deliveries import delivery_of
from tests.support.kinds import mail
from tests.support.smtp import BODY, DROP, GREETING, HANG, MailServer, context_of_client
from tests.support.transitions import explained

OPEN_FILES = Path("/proc/self/fd")
LOOPBACK = Guard(["127.0.0.0/8", "::1/128"])
LOGIN: dict[str, Any] = {"user": "alerts", "password": "s3cret+/="}
NO_TLS = b"250-mail.example\r\n250 AUTH PLAIN\r\n"
TO = ["one@example.com", "two@example.com"]


async def send(
    there: MailServer, guard: Guard = LOOPBACK, host: str = "localhost", **changes: Any
) -> Outcome:
    """Make one attempt; without TLS if nothing else is said."""
    to = mail(**{"server": f"{host}:{there.port}", "tls": "none", "timeout": 5.0, **changes})
    client = WebhookClient(guard, tls=context_of_client())
    text = transitions.encode(explained()).decode()
    return await client.send(to, delivery_of("alert-1.1", text, "mail"), 0.0)


async def sent(answers: dict[str, bytes], **changes: Any) -> Outcome:
    async with MailServer(answers) as server:
        return await send(server, **changes)


async def test_a_mail_arrives_whole() -> None:
    async with MailServer() as server:
        assert await send(server) == Delivered(250)
        (written,) = server.mails
        assert server.commands[:4] == [
            "EHLO [127.0.0.1]",
            "MAIL FROM:<alerts@example.com>",
            "RCPT TO:<ops@example.com>",
            "RCPT TO:<crm@example.com>",
        ]
    message = message_from_bytes(written, policy=policy.default)
    assert message["Message-ID"] == "<alert-1.1@example.com>"
    assert not message.defects


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_nothing_but_the_beginning_is_said_without_tls(tls: str) -> None:
    async with MailServer(implicit=tls == "implicit") as server:
        assert await send(server, tls=tls, **LOGIN) == Delivered(250)
        open_ones = server.commands[: -len(server.secure)]
        assert open_ones == ([] if tls == "implicit" else ["EHLO [127.0.0.1]", "STARTTLS"])
        assert [each.split()[0] for each in server.secure][:3] == ["EHLO", "AUTH", "MAIL"]


@pytest.mark.parametrize(
    ("answers", "tls", "outcome"),
    [
        ({"EHLO": NO_TLS}, "starttls", Retry("tls", "the server offers no STARTTLS")),
        ({"STARTTLS": b"454 no\r\n"}, "starttls", Retry("status", "SMTP status 454: no")),
    ],
)
async def test_without_starttls_nothing_is_sent(
    answers: dict[str, bytes], tls: str, outcome: Outcome
) -> None:
    async with MailServer(answers) as server:
        assert await send(server, tls=tls, **LOGIN) == outcome
        assert not any(each.startswith(("AUTH", "MAIL")) for each in server.commands)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_certificate_of_nobody_known(tls: str) -> None:
    async with MailServer(implicit=tls == "implicit") as server:
        to = mail(server=f"localhost:{server.port}", tls=tls)
        text = transitions.encode(explained()).decode()
        outcome = await WebhookClient(LOOPBACK).send(to, delivery_of("a.1", text), 0.0)
        assert isinstance(outcome, Retry)
        assert outcome.failure == "tls"
        assert outcome.reason.startswith("the certificate is not valid: ")
        assert not any(each.startswith(("AUTH", "MAIL")) for each in server.commands)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_certificate_of_another_name(tls: str) -> None:
    async with MailServer(implicit=tls == "implicit") as server:
        outcome = await send(server, host="127.0.0.1", tls=tls)
        assert isinstance(outcome, Retry)
        assert "certificate is not valid" in outcome.reason


async def test_what_is_said_before_starttls_counts_for_nothing() -> None:
    """CVE-2011-0411 and its like: what comes with the answer to STARTTLS is not of TLS."""
    answers = {
        "STARTTLS": b"220 go on\r\n250-mail.example\r\n250 AUTH PLAIN\r\n",
        "EHLO": b"250-mail.example\r\n250 STARTTLS\r\n",
    }
    outcome = await sent(answers, tls="starttls", **LOGIN)
    assert outcome == Retry("protocol", "the server offers no way to log in")


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({"MAIL": b"451 later\r\n"}, Retry("status", "SMTP status 451: later")),
        ({"DATA": b"452 full\r\n"}, Retry("status", "SMTP status 452: full")),
        ({BODY: b"451-a\r\n451 b\r\n"}, Retry("status", "SMTP status 451: a b")),
        ({"RCPT": b"450 grey\r\n"}, Retry("status", "SMTP status 450: grey")),
        ({"MAIL": b"550 no\r\n"}, GiveUp("status", "SMTP status 550: no")),
        ({"RCPT": b"550 unknown\r\n"}, GiveUp("status", "SMTP status 550: unknown")),
        ({"DATA": b"554 no\r\n"}, GiveUp("status", "SMTP status 554: no")),
        ({BODY: b"552 large\r\n"}, GiveUp("status", "SMTP status 552: large")),
        ({BODY: b"554\r\n"}, GiveUp("status", "SMTP status 554")),
    ],
)
async def test_what_is_said_of_a_mail(answers: dict[str, bytes], outcome: Outcome) -> None:
    assert await sent(answers) == outcome


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({GREETING: b"554 no service\r\n"}, Retry("status", "SMTP status 554: no service")),
        ({GREETING: b"421 busy\r\n"}, Retry("status", "SMTP status 421: busy")),
        ({"EHLO": b"550 who\r\n"}, Retry("status", "SMTP status 550: who")),
        ({"MAIL": b"530 log in\r\n"}, Retry("status", "SMTP status 530: log in")),
        ({"AUTH": b"535 wrong\r\n"}, Retry("status", "SMTP status 535: wrong")),
        (
            {"EHLO": b"250-mail.example\r\n250 STARTTLS\r\n"},
            Retry("protocol", "the server offers no way to log in"),
        ),
    ],
)
async def test_what_is_said_of_the_server_can_be_put_right(
    answers: dict[str, bytes], outcome: Outcome
) -> None:
    assert await sent(answers, tls="starttls", **LOGIN) == outcome


REFUSED = {"RCPT TO:<one@example.com>": b"550 unknown\r\n"}


async def test_one_who_is_refused_keeps_nobody_from_his_mail() -> None:
    async with MailServer(REFUSED) as server:
        with structlog.testing.capture_logs() as logs:
            assert await send(server, to=TO) == Delivered(250)
        assert len(server.mails) == 1
    (entry,) = logs
    assert (entry["event"], entry["address"]) == ("recipient refused", "one@example.com")
    assert entry["reason"] == "SMTP status 550: unknown"


async def test_who_may_be_taken_later_is_waited_for() -> None:
    answers = {**REFUSED, "RCPT": b"450 grey\r\n"}
    assert await sent(answers, to=TO) == Retry("status", "SMTP status 450: grey")


@pytest.mark.parametrize("step", [GREETING, "EHLO", "MAIL", "RCPT", "DATA", BODY])
async def test_a_connection_that_breaks(step: str) -> None:
    expected = Retry("connection", "the connection broke before there was an answer")
    assert await sent({step: DROP}) == expected


@pytest.mark.parametrize("step", [GREETING, "EHLO", "STARTTLS", "AUTH", "MAIL", "DATA", BODY])
async def test_a_server_that_hangs(step: str) -> None:
    outcome = await sent({step: HANG}, tls="starttls", timeout=0.3, **LOGIN)
    assert outcome == Retry("timeout", "no answer within 0.3 s")


async def test_tls_that_never_begins() -> None:
    outcome = await sent({GREETING: HANG}, tls="implicit", timeout=0.3)
    assert outcome == Retry("timeout", "no answer within 0.3 s")


@pytest.mark.parametrize("answer", [HANG, DROP, b"550 no\r\n", b"x" * 100_000])
async def test_a_mail_that_was_taken_is_delivered_whatever_comes_after(answer: bytes) -> None:
    async with asyncio.timeout(2.0):
        assert await sent({"QUIT": answer}) == Delivered(250)


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n",
        b"\xff\xfe\x00\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"250" * 100_000,
        b"250-x\r\n" * 10_000,
    ],
    ids=["text", "bytes", "HTTP", "endless line", "endless lines"],
)
@pytest.mark.parametrize("step", [GREETING, "EHLO", "MAIL", BODY])
async def test_garbage(step: str, garbage: bytes) -> None:
    outcome = await sent({step: garbage}, timeout=1.0)
    assert isinstance(outcome, Retry), outcome
    assert len(outcome.reason) < 300
    assert outcome.reason.isprintable()


async def test_what_a_server_says_is_shortened_and_printable() -> None:
    outcome = await sent({"MAIL": b"550 \x1b[31m" + b"x" * 5000 + b"\r\n"})
    assert isinstance(outcome, GiveUp)
    assert len(outcome.reason) < 300
    assert outcome.reason.isprintable()


async def test_private_addresses_are_refused() -> None:
    async with MailServer() as server:
        outcome = await send(server, Guard())
        assert isinstance(outcome, Retry)
        assert outcome.failure == "forbidden"
        assert "is not a public address" in outcome.reason
        assert server.commands == []


async def test_no_server_there() -> None:
    async with MailServer() as server:
        pass
    outcome = await send(server)
    assert isinstance(outcome, Retry)
    assert outcome.failure == "connection"


async def test_a_password_is_in_no_outcome_and_no_log() -> None:
    async with MailServer({"AUTH": b"535 wrong\r\n"}) as server:
        with structlog.testing.capture_logs() as logs:
            outcome = await send(server, tls="starttls", **LOGIN)
    assert LOGIN["password"] not in f"{outcome} {logs} {mail(**LOGIN)!r}"


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="Linux alone shows open files there")
@pytest.mark.parametrize(
    ("step", "tls"),
    [
        (GREETING, "implicit"),  # TLS never begins
        (GREETING, "starttls"),
        ("EHLO", "starttls"),
        ("STARTTLS", "starttls"),
        (BODY, "starttls"),
    ],
)
async def test_no_connection_is_left_behind(step: str, tls: str) -> None:
    def open_files() -> int:
        return len(list(OPEN_FILES.iterdir()))

    async with MailServer({step: HANG}) as server:
        await send(server, tls=tls, timeout=0.1)
        await asyncio.sleep(0.1)
        before = open_files()
        for _ in range(5):
            await send(server, tls=tls, timeout=0.1)
        await asyncio.sleep(0.1)
        # The server's own ends are still open.
        assert open_files() - before <= 5
