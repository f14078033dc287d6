"""The HTTP API and who may use it."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from streams.configuration import addresses
from streams.configuration.values import (
    Name,
    Port,
    ProblemsError,
    Settings,
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

    host: Annotated[str, AfterValidator(addresses.listening_host)] = "127.0.0.1"
    port: Port = 8080
    advertised_url: Annotated[str, AfterValidator(addresses.advertised_url)] | None = None
    anonymous: Literal["loopback", "always", "never"] = "loopback"
    tokens: tuple[TokenSettings, ...] = ()

    @field_validator("tokens")
    @classmethod
    def _unique(cls, tokens: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        problems = same_names(token.name for token in tokens)
        if problems:
            raise ProblemsError(problems)
        return tokens

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
