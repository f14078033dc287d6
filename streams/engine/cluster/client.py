"""Connection settings of all Kafka clients, and a check that they connect."""

import asyncio
import os
import re
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import aiokafka.client
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.configuration.kafka import KafkaSettings, SaslSettings, TlsSettings
from streams.engine.cluster.msk import MskTokenProvider
from streams.errors import BrokerUnavailableError, ConfigurationError, UserError

_SECONDS_TO_ANSWER = 4.0
_REFUSALS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that any aiokafka client takes, of servers, TLS and SASL.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
        UserError: AWS MSK IAM is configured and its package is not installed.
    """
    _make_no_topics()
    protocol = "SASL_" if kafka.sasl.mechanism else ""
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(kafka.bootstrap_servers),
        "client_id": kafka.client_id,
        "security_protocol": protocol + ("SSL" if kafka.tls.enabled else "PLAINTEXT"),
    }
    if kafka.tls.enabled:
        arguments["ssl_context"] = _tls_context(kafka.tls)
    if kafka.sasl.mechanism:
        arguments |= _sasl(kafka.sasl)
    return arguments


async def check_broker(kafka: KafkaSettings) -> None:
    """Ask a server for the cluster's brokers, and connect to one of them.

    Raises:
        BrokerUnavailableError: within about 5 s; says which servers were tried and why it failed.
    """
    arguments = connection(kafka)
    servers = arguments.pop("bootstrap_servers")
    attempts = [asyncio.create_task(_ask(server, arguments, kafka)) for server in servers]
    reasons: list[str] = []
    try:
        for attempt in asyncio.as_completed(attempts):
            try:
                brokers = await attempt
            except (OSError, KafkaError) as error:
                reasons.append(_reason(error))
            else:
                break
        else:
            why = "; ".join(dict.fromkeys(reasons))
            raise BrokerUnavailableError(
                f"cannot reach Kafka at {', '.join(servers)} ({why}): "
                "check kafka.bootstrap_servers and that the broker is running"
            )
    finally:
        for each in attempts:
            each.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    await _check_advertised(brokers)


def translate(error: BaseException, kafka: KafkaSettings) -> UserError | None:
    """Return an error with a hint for an error of TLS or SASL; None for any other.

    Looks at the causes of the error too.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return BrokerUnavailableError(
                f"the certificate of the Kafka broker is not trusted ({cause.verify_message}): "
                "check kafka.tls.ca_file"
            )
        if isinstance(cause, _REFUSALS):
            return BrokerUnavailableError(_refusal(cause, kafka.sasl))
    return None


def _make_no_topics() -> None:
    """Let no client make a topic by asking for it: aiokafka says that the broker may.

    A deleted topic would be there again, empty, with as many partitions as the broker likes.
    """
    aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            f"kafka.tls.ca_file is {tls.ca_file}: expected certificates in PEM"
        ) from None
    if tls.certificate_file:
        secret = tls.key_password
        # Given even if empty: OpenSSL would ask for it at the terminal.
        password = secret.get_secret_value() if secret else ""
        try:
            context.load_cert_chain(tls.certificate_file, tls.key_file, lambda: password)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"kafka.tls.certificate_file is {tls.certificate_file}: cannot be used with "
                f"key_file {tls.key_file} and key_password ({_reason(error)})"
            ) from None
    return context


def _sasl(sasl: SaslSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {"sasl_mechanism": sasl.mechanism}
    if sasl.mechanism == "OAUTHBEARER":
        return {**arguments, "sasl_oauth_token_provider": MskTokenProvider(sasl.aws_region or "")}
    password = sasl.password.get_secret_value() if sasl.password else None
    return {
        **arguments,
        "sasl_plain_username": sasl.username,
        "sasl_plain_password": password,
    }


async def _ask(
    server: str, arguments: dict[str, Any], kafka: KafkaSettings
) -> list[tuple[str, int]]:
    """Return host and port of the cluster's brokers, as one of its servers tells them."""
    host, _, port = server.rpartition(":")
    found: AIOKafkaConnection | None = None
    try:
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            found = await create_conn(host.strip("[]"), int(port), **arguments)
            answer = await found.send(MetadataRequest([]))
    except (OSError, KafkaError) as error:
        known = translate(error, kafka)
        if known:
            raise known from None
        raise
    finally:
        if found:
            found.close()
    return [(broker[1], broker[2]) for broker in answer.brokers]


async def _check_advertised(brokers: list[tuple[str, int]]) -> None:
    reason = ""
    for host, port in brokers:
        try:
            async with asyncio.timeout(_SECONDS_TO_ANSWER / len(brokers)):
                _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            reason = _reason(error)
        else:
            writer.close()
            return
    if brokers:
        names = ", ".join(f"{host}:{port}" for host, port in brokers)
        raise BrokerUnavailableError(
            f"the Kafka cluster answers, but not its brokers at {names} ({reason}): "
            "check advertised.listeners of the brokers"
        )


def _refusal(error: BaseException, sasl: SaslSettings) -> str:
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"Kafka does not offer {sasl.mechanism}: check kafka.sasl.mechanism"
    if sasl.mechanism is None:
        return "Kafka wants to know who we are: set kafka.sasl"
    if sasl.mechanism == "OAUTHBEARER":
        return (
            "Kafka refuses the AWS identity (OAUTHBEARER): check the credentials, their policy "
            "and kafka.sasl.aws_region"
        )
    return (
        f"Kafka refuses user {sasl.username} ({sasl.mechanism}): check kafka.sasl.username "
        "and kafka.sasl.password"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, KafkaConnectionError):
        return "closes the connection; does this port speak TLS or SASL?"
    # asyncio hides the system's words, and may hold several errors in one.
    numbers = dict.fromkeys(re.findall(r"\[Errno (\d+)\]", str(error)))
    words = ", ".join(os.strerror(int(number)) for number in numbers)
    return words or getattr(error, "strerror", None) or str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
