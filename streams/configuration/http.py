"""The HTTP API and who may use it."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streams.configuration import addresses
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
    cluster_secrets: tuple[Secret, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()

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
