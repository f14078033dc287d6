"""TLS: the certificate of the API, which may be exchanged while it is in use."""

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import structlog
from cryptography.x509 import load_pem_x509_certificate

from streams.configuration.http import HttpTlsSettings
from streams.errors import ConfigurationError

RELOAD_EVERY = 5.0
"""Seconds between two looks at the files."""

_log = structlog.get_logger(__name__)


class ServerCertificate:
    """The certificate of the API and its key, as the files have them.

    Args:
        certificate: a file in PEM.
        key: a file in PEM; null if the key is in the file of the certificate.
        password: of the key; empty if it has none.
        expires: is notified of when (s, UTC) the certificate in use expires.

    Attributes:
        context: for servers. A connection that begins gets the certificate of that moment.

    Raises:
        ConfigurationError: they cannot be used.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path | None,
        password: str = "",
        expires: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._files = (certificate, key)
        self._password = password
        self._expires = expires
        self._seen = self._state_of_files()
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"http.tls.certificate_file is {certificate}: cannot be used with key_file {key} "
                f"and key_password ({_reason(error)})"
            ) from None
        self.context = self._current
        self.context.sni_callback = self._choose

    @classmethod
    def of(
        cls, settings: HttpTlsSettings, expires: Callable[[float], None] = lambda _: None
    ) -> Self | None:
        """Return that of a configuration; null if it names none.

        Raises:
            ConfigurationError: it cannot be used.
        """
        if settings.certificate_file is None:
            return None
        secret = settings.key_password
        password = "" if secret is None else secret.get_secret_value()
        return cls(settings.certificate_file, settings.key_file, password, expires)

    async def follow(self) -> None:
        """Take a new certificate within seconds of its being in the files. Never returns."""
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            self.reload()

    def reload(self) -> None:
        """Take the certificate and the key anew if the files have changed.

        Those that cannot be used are logged, and the ones before stay in use; they are looked at
        again once the files change again, as one of two may have been written first.
        """
        state = self._state_of_files()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            _log.error(
                "certificate cannot be used: the one before stays",
                certificate=str(self._files[0]),
                reason=_reason(error),
            )
            return
        _log.info("certificate taken anew", certificate=str(self._files[0]))

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Given even if empty: OpenSSL would ask for it at the terminal.
        context.load_cert_chain(certificate, key, lambda: self._password)
        first = load_pem_x509_certificate(certificate.read_bytes())
        self._expires(first.not_valid_after_utc.timestamp())
        return context

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """Give a connection that begins what is current; called whether or not it names a host."""
        connection.context = self._current

    def _state_of_files(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(file) for file in self._files if file is not None]


def client_context(settings: HttpTlsSettings) -> ssl.SSLContext:
    """Return how certificates of other workers are checked.

    Raises:
        ConfigurationError: `ca_file` cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            f"http.tls.ca_file is {settings.ca_file}: expected certificates in PEM"
        ) from None


def _state_of(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does, or where a link leads; null if it is not there."""
    try:
        found = os.stat(file)  # noqa: PTH116 - follows links, as `Path.stat` does
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).lower().replace("_", " ")
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error)
