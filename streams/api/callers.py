"""Who asks."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from streams.api.visibility import EVERYTHING, Visibility

Scope: TypeAlias = Literal["read", "write"]
CallerKind: TypeAlias = Literal["token", "local", "anonymous", "worker"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do.

    Args:
        kind: has a token, is on this machine, is let in without either, or is another worker.
        address: where the request comes from, as far as trusted proxies say.
        name: of the token; null without one.
        scopes: what may be done.
        visible: what may be seen.
    """

    kind: CallerKind
    address: str = ""
    name: str | None = None
    scopes: tuple[Scope, ...] = ("read", "write")
    visible: Visibility = EVERYTHING


ANYBODY = Caller("local")
"""May do and see everything."""
