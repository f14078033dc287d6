"""A stand-in for Alertmanager's API v2, by its published documents and no library.

Sources in https://github.com/prometheus/alertmanager: `postableAlert` of `api/v2/openapi.yaml`,
`docs/alerts_api.md`, and what `Alert.Validate` of `alert/alert.go` refuses; label names as in the
classic mode (https://prometheus.io/docs/concepts/data_model/).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ALERT = {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}


def alert_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the alert of a request that has one.

    Raises:
        AssertionError: the documents do not allow it.
    """
    named = {name.lower(): value for name, value in headers.items()}
    assert named["content-type"] == "application/json"
    (alert,) = orjson.loads(body)
    assert alert.keys() <= ALERT
    for key in ("labels", "annotations"):
        for name, value in alert[key].items():
            assert _NAME.fullmatch(name), f"invalid name {name!r}"
            assert isinstance(value, str)
    assert alert["labels"]["alertname"]
    assert all(alert["labels"].values()), "an empty label is no label"
    for key in ("startsAt", "endsAt"):
        assert _TIME.fullmatch(alert[key]), f"not RFC 3339: {alert[key]}"
    assert seconds_of(alert["endsAt"]) >= seconds_of(alert["startsAt"])
    if "generatorURL" in alert:
        assert urlsplit(alert["generatorURL"]).scheme in {"http", "https"}
    return dict(alert)


def seconds_of(time: str) -> float:
    """Return a time in seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()


class Alertmanager:
    """Takes alerts, and tells which of them fire.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.alerts: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
        self.refusals: list[str] = []

    def firing(self) -> list[dict[str, str]]:
        """Return the labels of the alerts that have not ended."""
        now = self._clock()
        alerts = self.alerts.values()
        return [alert["labels"] for alert in alerts if seconds_of(alert["endsAt"]) > now]

    async def post_alerts(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as `postAlerts` does."""
        try:
            alert = alert_of(request.headers, await request.read())
        except (AssertionError, KeyError, ValueError) as error:
            self.refusals.append(f"{type(error).__name__}: {error}")
            return web.json_response(str(error), status=400)
        self.alerts[frozenset(alert["labels"].items())] = alert
        return web.Response()
