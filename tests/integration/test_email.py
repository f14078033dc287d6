"""Mails in a real mail server: over TLS, with a login, one thread an alert."""

import asyncio

import pytest

from tests.integration.conftest import NewWorker
from tests.integration.test_alerts import Traffic, going_on
from tests.support.brokers import RunningBroker
from tests.support.real_mail_server import PASSWORD, PROGRAM, USER, RealMailServer
from tests.support.smtp import TLS
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="exim4-daemon-light is not installed"),
    pytest.mark.parametrize(
        "broker", [pytest.param("embedded", marks=pytest.mark.embedded)], indirect=True
    ),
]

CAMPAIGN = 'sale/ü "100 %"\r\nBcc: evil@example.com'


def settings_of(broker: RunningBroker, prefix: str, server: RealMailServer) -> Settings:
    detector = {"kind": "threshold", "level": 0.2, "recovery_level": 0.1, "min_attempts": 30}
    mail = {
        "kind": "email",
        "user": USER,
        "password": PASSWORD,
        "sender": "alerts@example.com",
    }
    return settings_for(
        broker,
        prefix,
        windows={"size": 2, "grace": 2, "retention": 3600},
        rules=[
            {"name": "failing", "group": "failure", "detector": detector, "keep_firing_for": "1s"}
        ],
        receivers=[
            {
                **mail,
                "name": "implicit",
                "server": f"localhost:{server.tls_port}",
                "to": ["ops@example.com", "nobody@example.com"],
            },
            {
                **mail,
                "name": "starttls",
                "server": f"localhost:{server.port}",
                "tls": "starttls",
                "to": ["crm@example.com"],
            },
            {
                **mail,
                "name": "wrong",
                "server": f"localhost:{server.tls_port}",
                "password": "hunter2",
                "to": ["ceo@example.com"],
            },
        ],
        delivery={"allow_networks": ["127.0.0.0/8", "::1/128"], "retry_schedule": ["1h"]},
    )


async def left(worker: WorkerProcess) -> list[tuple[str, int, str]]:
    deliveries = (await worker.json("/v1/deliveries"))["deliveries"]
    return [
        (each["receiver"], each["sequence"], each["state"])
        for each in deliveries
        if each["state"] != "delivered"
    ]


async def test_mails_of_an_alert(
    broker: RunningBroker,
    unique: str,
    new_worker: NewWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "localhost.pem"))
    traffic = Traffic(CAMPAIGN)
    async with RealMailServer() as server:
        settings = settings_of(broker, unique, server)
        worker = new_worker(settings)
        async with going_on(broker.address, settings["topics"]["source"], traffic):
            await worker.ready()
            traffic.failing = 0.5
            await server.wait_for(2)
            traffic.failing = 0.0
            mails = await server.wait_for(4)
            waiting = [("wrong", 1, "pending"), ("wrong", 2, "pending")]
            await until(lambda: _has_left(worker, waiting))
        (alert,) = (await worker.json("/v1/alerts"))["alerts"]
        threads = {
            to: [mail for mail in mails if mail["Envelope-to"] == to]
            for to in ("ops@example.com", "crm@example.com")
        }
        for begins, ends in threads.values():
            first = f"<{alert['alert_id']}.1@example.com>"
            assert (begins["Message-ID"], begins["In-Reply-To"]) == (first, None)
            assert ends["Message-ID"] == f"<{alert['alert_id']}.2@example.com>"
            assert ends["In-Reply-To"] == ends["References"] == first
            assert ends["Subject"] == f"Re: {begins['Subject']}"
            assert [_title(mail) for mail in (begins, ends)] == ["Firing", "Resolved"]
            for mail in (begins, ends):
                assert mail["Return-path"] == "<alerts@example.com>"
                assert "Bcc" not in mail
                assert not mail.defects
        assert [mail["To"] for mail in threads["ops@example.com"]] == [
            "ops@example.com, nobody@example.com"
        ] * 2

        assert server.log.count("P=esmtpsa") == 4, "over TLS, and with a login"
        assert "535 Incorrect authentication data" in server.log
        assert worker.log.count("recipient refused") == 2
        assert "SMTP status 550: no such person" in worker.log
        assert PASSWORD not in worker.log
        assert "hunter2" not in worker.log
        assert await asyncio.to_thread(worker.stop) == 0


async def _has_left(worker: WorkerProcess, expected: list[tuple[str, int, str]]) -> bool:
    return sorted(await left(worker)) == expected


def _title(mail: object) -> str:
    body = mail.get_body(("plain",))  # type: ignore[attr-defined]
    return str(body.get_content()).partition(":")[0]
