import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaError, SaslAuthenticationFailed
from pydantic import SecretStr

from streams.configuration.kafka import KafkaSettings, SaslSettings, TlsSettings
from streams.engine.cluster import client
from streams.engine.cluster.client import check_broker, connection, translate
from streams.errors import BrokerUnavailableError, ConfigurationError, UserError
from tests.support.brokers import RunningBroker
from tests.support.ports import free_port

SASL = SaslSettings(mechanism="SCRAM-SHA-512", username="bob", password=SecretStr("hunter2"))


def settings(*servers: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=servers)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def test_plain_connection() -> None:
    assert connection(settings("a:1", "b:2")) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "campaign-streams",
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_over_tls() -> None:
    arguments = connection(KafkaSettings(sasl=SASL, tls=TlsSettings(enabled=True)))
    assert arguments["security_protocol"] == "SASL_SSL"
    assert arguments["ssl_context"].check_hostname
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == (
        "bob",
        "hunter2",
    )


def test_msk_without_its_package_says_what_to_install() -> None:
    sasl = SaslSettings(mechanism="OAUTHBEARER", aws_region="eu-west-1")
    kafka = KafkaSettings(sasl=sasl, tls=TlsSettings(enabled=True))
    with pytest.raises(UserError, match="pip install aws-msk-iam-sasl-signer-python"):
        connection(kafka)


def test_a_file_that_is_no_certificate() -> None:
    kafka = KafkaSettings(tls=TlsSettings.model_validate({"enabled": True, "ca_file": __file__}))
    with pytest.raises(
        ConfigurationError, match=r"kafka\.tls\.ca_file is .*: expected certificates"
    ):
        connection(kafka)


async def test_a_running_broker(broker: RunningBroker) -> None:
    await check_broker(settings(broker.address))
    await check_broker(settings(f"127.0.0.1:{free_port()}", broker.address))


async def test_nothing_there() -> None:
    address = f"127.0.0.1:{free_port()}"
    expected = (
        f"cannot reach Kafka at {address} (Connection refused): check kafka.bootstrap_servers "
        "and that the broker is running"
    )
    with pytest.raises(BrokerUnavailableError, match=f"^{re.escape(expected)}$"):
        await check_broker(settings(address))


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_SECONDS_TO_ANSWER", 0.2)

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()

    async with server(wait) as address:
        with pytest.raises(BrokerUnavailableError, match="no answer in time"):
            await check_broker(settings(address))


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(hang_up) as address:
        with pytest.raises(BrokerUnavailableError, match="does this port speak TLS or SASL"):
            await check_broker(settings(address))


def test_a_refusal_names_the_user_and_not_the_password() -> None:
    error = KafkaError("while connecting")
    error.__cause__ = SaslAuthenticationFailed("no")
    translated = translate(error, KafkaSettings(sasl=SASL))
    assert isinstance(translated, BrokerUnavailableError)
    assert str(translated).startswith("Kafka refuses user bob (SCRAM-SHA-512): check kafka.sasl.")
    assert "hunter2" not in str(translated)


def test_other_errors_are_not_about_who_we_are() -> None:
    assert translate(KafkaError("x"), KafkaSettings(sasl=SASL)) is None
