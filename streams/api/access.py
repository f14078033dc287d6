"""Who may ask: closed by default.

A token is known by its SHA-256 alone. Requests without one are let in where the configuration says
so, and on loopback if they are of this machine (`proxies`). Other workers sign what they ask
(`peers`).

How often may be asked is limited for each token, and for each address that needs none. Requests
without a right token are limited for each address as well. Past that limit no token is looked at
that was not used from there before, so nobody can go on guessing; those who got in before get in.
"""

import hmac
import math
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from streams.api.callers import Caller, Scope
from streams.api.costs import Budget
from streams.api.problems import ProblemError, too_many
from streams.api.proxies import Proxies, came_through_proxy, forwarded_hosts
from streams.api.rate_limits import MOST_BUCKETS, RateLimit, site_of
from streams.api.routing import Route
from streams.api.visibility import Visibility
from streams.configuration.http import HttpSettings, TokenSettings
from streams.domain.transitions import rfc3339

_CHALLENGE = 'Bearer realm="campaign-streams"'
_BROWSER_CHALLENGE = 'Basic realm="campaign-streams: the token as password", charset="UTF-8"'
_NONE_GIVEN = (
    "a token is needed (Authorization: Bearer …): its SHA-256 has to be in http.tokens of the "
    "worker's configuration"
)
_NOT_KNOWN = "the token is not one of http.tokens in the worker's configuration"
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of the configuration.

    Args:
        name: of the token.
        digest: SHA-256 in hexadecimal digits.
        scopes: what it is good for.
        visible: what may be seen with it.
        expires_at: until when (s, UTC) it is good; infinity for ever.
    """

    name: str
    digest: bytes
    scopes: tuple[Scope, ...]
    visible: Visibility
    expires_at: float

    @classmethod
    def of(cls, settings: TokenSettings) -> "_Token":
        """Return that of the configuration."""
        until = math.inf if settings.expires_at is None else settings.expires_at.timestamp()
        visible = Visibility(settings.campaigns, settings.apps)
        return cls(settings.name, settings.sha256.encode(), settings.scopes, visible, until)


class Gate:
    """Lets requests in, or not.

    Args:
        settings: tokens, whom to let in without, and how often.
        loopback_only: whether the server can be reached over loopback alone.
        now: the wall clock (s, UTC).
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        loopback_only: bool,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = settings.rate_limit
        self._tokens = [_Token.of(each) for each in settings.tokens]
        self._anonymous = settings.anonymous
        self._loopback_only = loopback_only
        self._proxies = Proxies(settings.trusted_proxies)
        self._own_host = urlsplit(settings.advertised_url or "").netloc
        self._now = now
        self._requests = RateLimit(limits.requests, limits.burst, clock)
        self._maximum = settings.cost_limit.request
        self._costs = RateLimit(settings.cost_limit.rate, settings.cost_limit.burst, clock)
        self._failures = RateLimit(limits.failures / _MINUTE, limits.failures, clock)
        self._let_in: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Tokens that were right, by the address that they came from."""

    def address_of(self, request: web.BaseRequest) -> str:
        """Return where a request comes from, as far as trusted proxies say."""
        return self._proxies.client(request.headers, request.remote or "")

    def identify(self, request: web.BaseRequest, route: Route | None) -> Caller:
        """Say who asks; `route` is null for a path that does not exist.

        Returns:
            The name of the token that it was let in with; null for none.

        Raises:
            ProblemError: 401 without a right token, 429 if that was tried too often.
        """
        address = self.address_of(request)
        if route is not None and route.scope is None:
            return Caller("anonymous", address, scopes=())
        site = site_of(address)
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            return self._identify_token(_token(authorization), address, site, route)
        caller = self._without_token(request, address)
        if caller is None:
            raise self._fail(site, _unauthorised(_NONE_GIVEN, route))
        return caller

    def check(self, request: web.BaseRequest, route: Route | None, caller: Caller) -> None:
        """Let a caller do what a route does, or not.

        Raises:
            ProblemError: 429 if they ask too often, 403 if they may not.
        """
        scope: Scope | None = route.scope if route else "read"
        if scope is None:
            return
        if caller.kind != "local":
            wait = self._requests.take(_bucket_of(caller))
            if wait:
                raise too_many("requests: see http.rate_limit of the worker's configuration", wait)
        if scope == "write":
            self._refuse_other_sites(request)
        if scope not in caller.scopes:
            raise ProblemError(HTTPStatus.FORBIDDEN, f"this needs a token with the scope {scope}")
        if route is not None and not route.for_some and not caller.visible.is_whole:
            detail = "this is about all campaigns: it needs a token without patterns of them"
            raise ProblemError(HTTPStatus.FORBIDDEN, detail)

    def budget(self, caller: Caller) -> Budget:
        """Return what a request of a caller may cost."""
        if caller.kind in {"local", "worker"}:
            return Budget(self._maximum)
        key = _bucket_of(caller)
        return Budget(self._maximum, lambda cost: self._costs.take(key, cost))

    def _identify_token(self, given: str, address: str, site: str, route: Route | None) -> Caller:
        token = self._known(given)
        pair = (site, token.name if token is not None else "")
        wait = self._failures.wait(site)
        if wait and pair not in self._let_in:
            raise too_many("requests without a right token from this address", wait)
        if token is None:
            raise self._fail(site, _unauthorised(_NOT_KNOWN, route))
        if self._now() >= token.expires_at:
            detail = f"the token {token.name} has expired at {rfc3339(token.expires_at)}"
            raise self._fail(site, _unauthorised(detail, route))
        self._let_in[pair] = None
        self._let_in.move_to_end(pair)
        if len(self._let_in) > MOST_BUCKETS:
            self._let_in.popitem(last=False)
        return Caller("token", address, token.name, token.scopes, token.visible)

    def _fail(self, site: str, problem: ProblemError) -> ProblemError:
        """Return a problem, or that there were too many from there."""
        wait = self._failures.take(site)
        if wait:
            return too_many("requests without a right token from this address", wait)
        return problem

    def _known(self, token: str) -> _Token | None:
        digest = sha256(token.encode(errors="surrogateescape")).hexdigest().encode()
        found = None
        for each in self._tokens:  # all of them: the time taken tells nothing
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found

    def _without_token(self, request: web.BaseRequest, address: str) -> Caller | None:
        if self._anonymous == "never":
            return None
        if self._loopback_only and self._is_local(request):
            return Caller("local", address)
        return (
            Caller("anonymous", address, scopes=("read",)) if self._anonymous == "always" else None
        )

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


def _bucket_of(caller: Caller) -> str | tuple[str]:
    """Return what a caller shares a limit by: their token, or where they ask from."""
    return caller.name or (site_of(caller.address),)


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
