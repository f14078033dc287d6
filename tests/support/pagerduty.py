"""A stand-in for PagerDuty's Events API v2 and its webhooks, by its published documents.

Sources: `reference/events-v2/openapiv3.json` in https://github.com/PagerDuty/api-schema;
`docs/events-API-v2/01-Overview.md` and `02-Trigger-Events.md` in
https://github.com/PagerDuty/developer-docs, which have the lengths; `docs/webhooks` there.
"""

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

ROUTING_KEY = "e93facc04764012d7bfb002500d5d1a6"

EVENT = {
    "routing_key": str,
    "event_action": str,
    "dedup_key": str,
    "payload": dict,
    "client": str,
    "client_url": str,
    "links": list,
    "images": list,
}
PAYLOAD = {
    "summary": str,
    "source": str,
    "severity": str,
    "timestamp": str,
    "component": str,
    "group": str,
    "class": str,
    "custom_details": dict,
}


def event_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the event of a request.

    Raises:
        AssertionError: the documents do not allow it.
    """
    named = {name.lower(): value for name, value in headers.items()}
    assert named["content-type"] == "application/json"
    assert len(body) <= 512_000, f"{len(body)} bytes"
    event: dict[str, Any] = orjson.loads(body)
    _check_types(event, EVENT)
    assert len(event["routing_key"]) == 32, "Length of 'routing_key' is incorrect"
    assert event["event_action"] in {"trigger", "acknowledge", "resolve"}
    assert 1 <= len(event["dedup_key"]) <= 255
    if "payload" in event:
        _check_payload(event["payload"])
    assert "payload" in event or event["event_action"] != "trigger"
    for link in event.get("links", []):
        assert link.keys() <= {"href", "text"}
        _check_url(link["href"])
    if "client_url" in event:
        _check_url(event["client_url"])
    return event


def _check_payload(payload: dict[str, Any]) -> None:
    _check_types(payload, PAYLOAD)
    # Characters of UTF-16: the documents do not say which, and these are the most.
    assert 1 <= len(payload["summary"].encode("utf-16-le")) // 2 <= 1024
    assert payload["source"]
    assert payload["severity"] in {"critical", "error", "warning", "info"}


def _check_types(found: dict[str, Any], known: Mapping[str, type]) -> None:
    for name, value in found.items():
        assert isinstance(value, known[name]), f"{name} is {value!r}"


def _check_url(url: str) -> None:
    assert url.isascii()
    assert urlsplit(url).scheme in {"http", "https"}
    assert urlsplit(url).hostname


class PagerDuty:
    """Takes events, and keeps what became of the alert of each `dedup_key`.

    `alerts` has, by key, the actions that applied to each alert in turn: `resolve` of an alert that
    is not open is dropped, and `trigger` after the end opens a new one. `refusals` has why events
    were refused.
    """

    def __init__(self) -> None:
        self.alerts: dict[str, list[list[str]]] = {}
        self.refusals: list[str] = []

    async def enqueue(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as the API does."""
        try:
            event = event_of(request.headers, await request.read())
        except (AssertionError, KeyError, ValueError) as error:
            self.refusals.append(f"{type(error).__name__}: {error}")
            value = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": [str(error)],
            }
            return web.json_response(value, status=400)
        key, action = event["dedup_key"], event["event_action"]
        self._apply(key, action)
        value = {"status": "success", "message": "Event processed", "dedup_key": key}
        return web.json_response(value, status=202)

    def _apply(self, key: str, action: str) -> None:
        alerts = self.alerts.setdefault(key, [])
        is_open = bool(alerts) and alerts[-1][-1] != "resolve"
        if is_open:
            alerts[-1].append(action)
        elif action == "trigger":
            alerts.append([action])


def webhook(
    incident_key: str | None,
    event_type: str = "incident.acknowledged",
    *,
    by: str | None = "Tenex Engineer",
    occurred_at: str = "2026-11-23T10:00:05.169Z",
    **changes: Any,
) -> bytes:
    """Return the body of a webhook about an incident, with all fields that the documents show."""

    def reference(name: str, kind: str) -> dict[str, str]:
        return {
            "html_url": f"https://acme.pagerduty.com/{kind}s/P1",
            "id": "P1",
            "self": f"https://api.pagerduty.com/{kind}s/P1",
            "summary": name,
            "type": f"{kind}_reference",
        }

    return orjson.dumps(
        {
            "event": {
                "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
                "event_type": event_type,
                "resource_type": "incident",
                "occurred_at": occurred_at,
                "agent": None if by is None else reference(by, "user"),
                "client": {"name": "PagerDuty"},
                "data": {
                    "id": "PGR0VU2",
                    "type": "incident",
                    "self": "https://api.pagerduty.com/incidents/PGR0VU2",
                    "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
                    "number": 2,
                    "status": "acknowledged",
                    "incident_key": incident_key,
                    "created_at": "2026-11-23T10:00:01Z",
                    "title": "A little bump in the road",
                    "service": reference("API Service", "service"),
                    "assignees": [reference("User 123", "user")],
                    "teams": [reference("Engineering", "team")],
                    "priority": None,
                    "urgency": "high",
                    "resolve_reason": None,
                },
                **changes,
            }
        }
    )


def signed(body: bytes, *secrets: str) -> dict[str, str]:
    """Return the headers of a webhook, with a signature for each secret."""
    signatures = [hmac.new(each.encode(), body, "sha256").hexdigest() for each in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "PagerDuty-Webhook/V3.0",
        "X-Webhook-Id": "c0b8e3f2",
        "X-PagerDuty-Signature": ",".join(f"v1={each}" for each in signatures),
    }
