"""The HTTP API and who may use it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StrictInt,
    field_validator,
    model_validator,
)

from streams.configuration import addresses
from streams.configuration.files import check_small
from streams.settings import (
    Name,
    Network,
    Port,
    Problem,
    ProblemsError,
    Secret,
    Settings,
    same_names,
)

SHORTEST_SECRET = 32
"""Characters of a cluster secret: 128 bits even if they are hexadecimal digits."""
LONGEST_PATTERNS = 3_000
"""Characters of all patterns of a token together: workers send them each other in a header."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _moment(value: object) -> datetime:
    """Return the time that a text is.

    Raises:
        ValueError: it is none, or has no offset.
    """
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("expected a time with its offset, such as 2027-01-31T00:00:00Z")
    return found


Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
]
"""A time; in texts as RFC 3339 has it."""

Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=100)
]
"""Shell-style patterns of which one has to match."""


class TokenSettings(Settings):
    """One bearer token: the hexadecimal SHA-256 of it, never the token itself."""

    name: Name
    sha256: str
    scopes: Annotated[tuple[Literal["read", "write"], ...], Field(min_length=1)] = ("read",)
    expires_at: Moment | None = None
    campaigns: Patterns = ("*",)
    apps: Patterns = ("*",)

    @field_validator("sha256")
    @classmethod
    def _hexadecimal(cls, digest: str) -> str:
        if not _SHA256.fullmatch(digest):
            raise ValueError("expected the 64 hexadecimal digits of the token's SHA-256")
        return digest.lower()

    @model_validator(mode="after")
    def _short_enough(self) -> Self:
        length = sum(len(each.encode()) for each in (*self.campaigns, *self.apps))
        if length > LONGEST_PATTERNS:
            problem = f"expected patterns of at most {LONGEST_PATTERNS} bytes in all, with apps"
            raise ProblemsError([(("campaigns",), problem)])
        return self


class HttpTlsSettings(Settings):
    """TLS of the API, and the authorities that certificates of other workers are checked by."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    ca_file: Path | None = None

    @field_validator("certificate_file", "key_file", "ca_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            check_small(path)
        return path

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.key_file or self.key_password) and not self.certificate_file:
            raise ValueError("key_file and key_password need certificate_file beside them")
        return self


class RateLimitSettings(Settings):
    """How often the API is asked; 0 stands for no limit."""

    requests: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 250
    burst: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 500
    failures: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 30


class CostLimitSettings(Settings):
    """What requests may cost, in campaigns and windows to look at; 0 stands for no limit."""

    request: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 5_000_000
    rate: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 200_000
    burst: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] = 5_000_000


class HttpSettings(Settings):
    """The HTTP API. Port 0 lets the system choose a free one."""

    host: Annotated[str, AfterValidator(addresses.listening_host)] = "127.0.0.1"
    port: Port = 8080
    advertised_url: Annotated[str, AfterValidator(addresses.advertised_url)] | None = None
    anonymous: Literal["loopback", "always", "never"] = "loopback"
    tokens: tuple[TokenSettings, ...] = ()
    cluster_secrets: tuple[Secret, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    tls: HttpTlsSettings = HttpTlsSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    cost_limit: CostLimitSettings = CostLimitSettings()

    @field_validator("tokens")
    @classmethod
    def _unique(cls, tokens: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        problems = same_names(token.name for token in tokens)
        if problems:
            raise ProblemsError(problems)
        return tokens

    @field_validator("cluster_secrets")
    @classmethod
    def _long_enough(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        problems: list[Problem] = [
            ((at,), f"expected {SHORTEST_SECRET} characters or more: openssl rand -hex 32")
            for at, secret in enumerate(secrets)
            if len(secret.get_secret_value()) < SHORTEST_SECRET
        ]
        if problems:
            raise ProblemsError(problems)
        return secrets

    @model_validator(mode="after")
    def _closed_by_default(self) -> "HttpSettings":
        """Nobody could ask: neither is there a token, nor is anybody on loopback."""
        local = addresses.is_loopback(self.host)
        if self.anonymous == "loopback" and not self.tokens and not local:
            expected = (
                f"expected at least one, as http.host {self.host} is not loopback; or "
                "http.anonymous: always, which lets everybody read"
            )
            raise ProblemsError([(("tokens",), expected)])
        return self
