"""Workers know each other by a secret of their own; a client's token stays where it came in.

Whoever joins the group can announce any address, so an address is neither given a token nor
believed. With `http.cluster_secrets` each request from worker to worker is signed, and so is its
answer: HMAC-SHA256 (RFC 2104), compared in constant time. The signature covers the method, the
URL of the worker that is asked, the target, the partitions, what the caller may see if that is
less than everything, the time (ms), a nonce, and who asks, if that is known; that of the answer
covers the nonce of its request, the status and the body. A request holds for `VALID_FOR` seconds,
at one worker, once.

The worker that signs has checked who asks it and for what; the one that is asked relies on that.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from streams.api.problems import ProblemError
from streams.api.visibility import VISIBLE_HEADER
from streams.configuration.addresses import advertised_url, is_loopback
from streams.configuration.http import HttpSettings

PARTITIONS_HEADER = "Campaign-Streams-Partitions"
SIGNATURE_HEADER = "Campaign-Streams-Signature"
ASKER_HEADER = "Campaign-Streams-Asker"
VALID_FOR = 30.0
"""Seconds that a signed request holds, and that the clocks of two workers may differ."""
_SIGNATURE = re.compile(r"v1;(?P<time>\d{1,15});(?P<nonce>[0-9a-f]{32});(?P<mac>[0-9a-f]{64})")


class Signed(NamedTuple):
    """A request's nonce, and its signature as a header's value."""

    nonce: str
    header: str


class Peers:
    """Decides which workers are asked and how, and which of them may ask.

    Args:
        settings: the secrets, the first of which signs, and whom to let in without a token.
        url: of this worker, as it announces it; null if it announces none.
        now: the wall clock (s, UTC).
    """

    def __init__(self, settings: HttpSettings, url: str | None, now: Callable[[], float]) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.cluster_secrets]
        self._open = settings.anonymous == "always"
        self._url = url
        self._now = now
        self._nonces: dict[str, float] = {}
        """The nonces of requests that still hold, oldest first, and until when (s) they do."""

    @property
    def sign(self) -> bool:
        """Whether workers sign what they say to each other."""
        return bool(self._keys)

    def is_own(self, url: str) -> bool:
        """Tell whether this worker announced a URL; it may have its tasks no longer, or not yet."""
        return url == self._url

    def why_not_ask(self, url: str) -> str | None:
        """Say why a worker that announced this URL is not asked; null if it is."""
        if self.is_own(url):
            return "it is this worker's own"
        try:
            advertised_url(url)
        except ValueError as error:
            return str(error)
        if self._keys or self._open or is_loopback(urlsplit(url).hostname or ""):
            return None
        return "workers beyond loopback need http.cluster_secrets, the same at all of them"

    def request(  # noqa: PLR0913, PLR0917 - what is signed
        self,
        method: str,
        url: str,
        target: str,
        partitions: str,
        visible: str = "",
        asker: str = "",
    ) -> Signed:
        """Sign a request to the worker that announced `url`; the last two as in their headers."""
        partitions = _with_visible(partitions, visible)
        time, nonce = str(round(self._now() * 1000)), secrets.token_hex(16)
        parts = (method, url, target, partitions, time, nonce)
        mac = _mac(self._keys[0], "request", *parts, *filter(None, [asker]))
        return Signed(nonce, f"v1;{time};{nonce};{mac}")

    def asked_by(self, method: str, target: str, headers: Mapping[str, str]) -> str | None:
        """Return the nonce of a request that another worker signed; null if it is of a client.

        Raises:
            ProblemError: 401, if the signature is wrong, too old, or was used.
        """
        value = headers.get(SIGNATURE_HEADER)
        if value is None or not self._keys:
            return None
        found = _SIGNATURE.fullmatch(value)
        if found is None:
            raise _refusal("expected v1;time;nonce;signature")
        time, nonce = found["time"], found["nonce"]
        asked = _with_visible(headers.get(PARTITIONS_HEADER, ""), headers.get(VISIBLE_HEADER, ""))
        parts = (method, self._url or "", target, asked, time, nonce)
        asker = filter(None, [headers.get(ASKER_HEADER)])
        if not self._is_mac(found["mac"], "request", *parts, *asker):
            raise _refusal("it is not by any of this worker's http.cluster_secrets")
        age = self._now() - int(time) / 1000
        if abs(age) > VALID_FOR:
            raise _refusal(f"it is {age:.0f} s old by this worker's clock: set the clocks")
        self._use(nonce)
        return nonce

    def _use(self, nonce: str) -> None:
        now = self._now()
        for old, until in list(self._nonces.items()):
            if until > now:
                break
            del self._nonces[old]
        if nonce in self._nonces:
            raise _refusal("it was used before")
        self._nonces[nonce] = now + 2 * VALID_FOR

    def answer(self, nonce: str, status: int, body: bytes) -> str:
        """Sign the answer to the request with this nonce."""
        return _mac(self._keys[0], "answer", nonce, str(status), sha256(body).hexdigest())

    def is_answer(self, mac: str, nonce: str, status: int, body: bytes) -> bool:
        """Tell whether a worker signed this answer to the request with this nonce."""
        return self._is_mac(mac, "answer", nonce, str(status), sha256(body).hexdigest())

    def _is_mac(self, mac: str, *parts: str) -> bool:
        given = mac.encode(errors="surrogateescape")
        known = [_mac(key, *parts).encode() for key in self._keys]
        return any([hmac.compare_digest(given, each) for each in known])  # noqa: C419 - all of them


def _with_visible(partitions: str, visible: str) -> str:
    """Return what is signed of both: numbers and commas, and what follows a semicolon."""
    return f"{partitions};{visible}" if visible else partitions


def _mac(key: bytes, *parts: str) -> str:
    # No part holds a line feed: they are of one line of a request or of its headers.
    message = "\n".join(parts).encode(errors="surrogateescape")
    return hmac.new(key, message, sha256).hexdigest()


def _refusal(reason: str) -> ProblemError:
    detail = f"the signature of a worker ({SIGNATURE_HEADER}) is refused: {reason}"
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Campaign-Streams"})
