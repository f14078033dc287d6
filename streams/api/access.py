"""Who may ask: closed by default.

A token is known by its SHA-256 alone. Requests without one are let in where the configuration says
so; on loopback, only if they also name this machine by a loopback name, or any page in a browser
here could ask under a name of its own (DNS rebinding).
"""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from streams.api.problems import ProblemError
from streams.api.routing import Route, Scope
from streams.configuration.addresses import is_loopback
from streams.configuration.http import HttpSettings

_CHALLENGE = 'Bearer realm="campaign-streams"'
_BROWSER_CHALLENGE = 'Basic realm="campaign-streams: the token as password", charset="UTF-8"'
_NONE_GIVEN = (
    "a token is needed (Authorization: Bearer …): its SHA-256 has to be in http.tokens of the "
    "worker's configuration"
)
_NOT_KNOWN = "the token is not one of http.tokens in the worker's configuration"


class Gate:
    """Lets requests in, or not.

    Args:
        settings: tokens, and whom to let in without.
        loopback_only: whether the server can be reached over loopback alone.
    """

    def __init__(self, settings: HttpSettings, *, loopback_only: bool) -> None:
        self._tokens = [(token.sha256.encode(), token.scopes) for token in settings.tokens]
        self._anonymous = settings.anonymous
        self._loopback_only = loopback_only

    def check(self, headers: Mapping[str, str], remote: str | None, route: Route | None) -> None:
        """Let a request in; `route` is null for a path that does not exist.

        Raises:
            ProblemError: 401 without a right token, 403 if the token is not enough.
        """
        scope: Scope | None = route.scope if route else "read"
        if scope is None:
            return
        if scope == "write":
            _refuse_other_sites(headers)
        authorization = headers.get("Authorization")
        if authorization is not None:
            allowed = self._scopes(_token(authorization))
            if allowed is None:
                raise _unauthorised(_NOT_KNOWN, route)
        else:
            allowed = self._scopes_without_token(headers, remote)
            if not allowed:
                raise _unauthorised(_NONE_GIVEN, route)
        if scope not in allowed:
            raise ProblemError(HTTPStatus.FORBIDDEN, f"this needs a token with the scope {scope}")

    def _scopes(self, token: str) -> tuple[Scope, ...] | None:
        digest = sha256(token.encode(errors="surrogateescape")).hexdigest().encode()
        found = None
        for known, scopes in self._tokens:  # all of them: the time taken tells nothing
            if hmac.compare_digest(known, digest):
                found = scopes
        return found

    def _scopes_without_token(
        self, headers: Mapping[str, str], remote: str | None
    ) -> tuple[Scope, ...]:
        at_home = (
            self._loopback_only
            and is_loopback(remote or "")
            and is_loopback(_host_name(headers.get("Host", "")))
        )
        if self._anonymous == "never":
            return ()
        if at_home:
            return ("read", "write")
        return ("read",) if self._anonymous == "always" else ()


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _token(authorization: str) -> str:
    """Return the token of a Bearer header, or the password of a browser's Basic one."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return value.strip() if scheme.lower() == "bearer" else ""


def _refuse_other_sites(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another site sends with the permission of whoever looks at it."""
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != headers.get("Host"):
        detail = f"a page of {origin[:200]} may not do this: only pages of this server may"
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)


def _unauthorised(detail: str, route: Route | None) -> ProblemError:
    challenge = _BROWSER_CHALLENGE if route and route.page else _CHALLENGE
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
