"""The HTTP API and who may use it."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from streams.configuration.values import (
    Name,
    Port,
    ProblemsError,
    Settings,
    Text,
    check_url,
    same_names,
)

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class TokenSettings(Settings):
    """One bearer token: the hexadecimal SHA-256 of it, never the token itself."""

    name: Name
    sha256: str
    scopes: Annotated[tuple[Literal["read", "write"], ...], Field(min_length=1)] = ("read",)

    @field_validator("sha256")
    @classmethod
    def _hexadecimal(cls, digest: str) -> str:
        if not _SHA256.fullmatch(digest):
            raise ValueError("expected the 64 hexadecimal digits of the token's SHA-256")
        return digest.lower()


class HttpSettings(Settings):
    """The HTTP API. Port 0 lets the system choose a free one."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    advertised_url: Text | None = None
    anonymous: Literal["loopback", "always", "never"] = "loopback"
    tokens: tuple[TokenSettings, ...] = ()

    @field_validator("advertised_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is not None:
            check_url(url)
        return url

    @field_validator("tokens")
    @classmethod
    def _unique(cls, tokens: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        problems = same_names(token.name for token in tokens)
        if problems:
            raise ProblemsError(problems)
        return tokens
