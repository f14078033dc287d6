"""Requests to the HTTP API, and what its callers and its certificate are good for."""

from collections.abc import Iterable, Mapping

from streams.observability.families import Families

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
"""Those that a metric names; whatever else a client makes up is `other`."""
SECONDS = (0.01, 0.05, 0.2, 1.0, 10.0)
"""Upper bounds of the buckets: what a point, the windows of a day and a list are to take at most,
and what people wait for. Each one is a line for each route, on every page of metrics."""


class HttpMetrics:
    """Counts and times requests.

    Args:
        families: makes the metrics.
    """

    def __init__(self, families: Families) -> None:
        self._requests = families.counter(
            "http_requests",
            "Requests to the API by method, route and status; `unknown`: no route",
            "method",
            "route",
            "status",
        )
        self._seconds = families.histogram(
            "http_request_seconds",
            "From a request's first line to its answer",
            "method",
            "route",
            buckets=SECONDS,
        )
        self._cost = families.counter(
            "http_query_cost",
            "What requests have cost, in campaigns and windows to look at, by route",
            "route",
        )
        self._token_expiry = families.gauge(
            "http_token_expiry_timestamp_seconds",
            "When a token of http.tokens expires, Unix time",
            "name",
        )
        self._certificate_expiry = families.gauge(
            "http_certificate_expiry_timestamp_seconds",
            "When the certificate of the API expires, Unix time; 0 without TLS",
        )

    def expect(self, routes: Iterable[tuple[str, str]], expiries: Mapping[str, float]) -> None:
        """Show what is known from the first page on.

        Args:
            routes: the method and the template of each route.
            expiries: when tokens expire (s, UTC), by their names; those that do are in it.
        """
        for method, route in routes:
            self._requests.labels(method, route, "200")
            self._seconds.labels(method, route)
        for name, expires_at in expiries.items():
            self._token_expiry.labels(name).set(expires_at)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answer, some seconds after its request began; `route` is a template."""
        named = method if method in METHODS else "other"
        self._requests.labels(named, route, str(status)).inc()
        self._seconds.labels(named, route).observe(seconds)

    def cost(self, route: str, cost: int) -> None:
        """Note what a request has cost; `route` is a template."""
        self._cost.labels(route).inc(cost)

    def certificate_expires(self, at: float) -> None:
        """Note when (s, UTC) the certificate that is in use expires."""
        self._certificate_expiry.set(at)
