"""Who may ask: closed by default.

A token is known by its SHA-256 alone. Requests without one are let in where the configuration says
so, and on loopback if they are of this machine (`proxies`). Other workers sign what they ask
(`peers`).
"""

import hmac
from base64 import b64decode
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from streams.api.problems import ProblemError
from streams.api.proxies import Proxies, came_through_proxy, forwarded_hosts
from streams.api.routing import Route, Scope
from streams.configuration.http import HttpSettings, TokenSettings

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
        self._tokens = settings.tokens
        self._anonymous = settings.anonymous
        self._loopback_only = loopback_only
        self._proxies = Proxies(settings.trusted_proxies)
        self._own_host = urlsplit(settings.advertised_url or "").netloc

    def check(self, request: web.BaseRequest, route: Route | None) -> str | None:
        """Let a request in; `route` is null for a path that does not exist.

        Returns:
            The name of the token that it was let in with; null for none.

        Raises:
            ProblemError: 401 without a right token, 403 if the token is not enough.
        """
        scope: Scope | None = route.scope if route else "read"
        if scope is None:
            return None
        if scope == "write":
            self._refuse_other_sites(request)
        authorization = request.headers.get("Authorization")
        name = None
        if authorization is not None:
            found = self._known(_token(authorization))
            if found is None:
                raise _unauthorised(_NOT_KNOWN, route)
            name, allowed = found.name, found.scopes
        else:
            allowed = self._scopes_without_token(request)
            if not allowed:
                raise _unauthorised(_NONE_GIVEN, route)
        if scope not in allowed:
            raise ProblemError(HTTPStatus.FORBIDDEN, f"this needs a token with the scope {scope}")
        return name

    def _known(self, token: str) -> TokenSettings | None:
        digest = sha256(token.encode(errors="surrogateescape")).hexdigest().encode()
        found = None
        for each in self._tokens:  # all of them: the time taken tells nothing
            if hmac.compare_digest(each.sha256.encode(), digest):
                found = each
        return found

    def _scopes_without_token(self, request: web.BaseRequest) -> tuple[Scope, ...]:
        if self._anonymous == "never":
            return ()
        if self._loopback_only and self._is_local(request):
            return ("read", "write")
        return ("read",) if self._anonymous == "always" else ()

    def _is_local(self, request: web.BaseRequest) -> bool:
        # Programs of today speak HTTP/1.1; a proxy may speak 1.0 and leave no other trace.
        if request.version < HttpVersion11 and not came_through_proxy(request.headers):
            return False
        return self._proxies.are_local(request.headers, request.remote or "")

    def _refuse_other_sites(self, request: web.BaseRequest) -> None:
        """Refuse what a page of another site sends with the permission of whoever looks at it.

        Browsers say of which origin a page is (RFC 6454, 7), and how it stands to this server
        (Fetch Metadata); other programs say neither.
        """
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        own = {request.headers.get("Host"), self._own_host}
        if self._proxies.trusts(request.remote or ""):
            own.update(forwarded_hosts(request.headers))
        if origin is not None:
            if origin.partition("://")[2] in own - {""}:
                return
        elif site in {"none", "same-origin"}:
            return
        detail = (
            f"a page of {(origin or 'another site')[:200]} may not do this: only pages of this "
            "server may; if it is behind a proxy, see http.trusted_proxies"
        )
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)


def _token(authorization: str) -> str:
    """Return the token of a Bearer header, or the password of a browser's Basic one."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return value.strip() if scheme.lower() == "bearer" else ""


def _unauthorised(detail: str, route: Route | None) -> ProblemError:
    challenge = _BROWSER_CHALLENGE if route and route.page else _CHALLENGE
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
