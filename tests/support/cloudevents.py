"""Reads CloudEvents 1.0.2 off HTTP requests, by the rules of the specification and no library.

Source: https://github.com/cloudevents/spec (`spec.md`, the JSON event format, the HTTP binding).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import orjson

REQUIRED = frozenset({"specversion", "id", "source", "type"})
_NAME = re.compile(r"[a-z0-9]{1,20}")
_HEADER_VALUE = re.compile(r"[!-~]+")
_ESCAPED = re.compile(r"%(?![0-9A-F]{2})")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_URI_REFERENCE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def event_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the event of a request in structured or binary mode, in the terms of the JSON format.

    Raises:
        AssertionError: the request holds no valid event.
    """
    named = {name.lower(): value for name, value in headers.items()}
    content_type = named["content-type"]
    media_type = content_type.partition(";")[0].strip()
    if media_type.startswith("application/cloudevents"):
        assert media_type == "application/cloudevents+json"
        event: dict[str, Any] = orjson.loads(body)
    else:
        event = _of_headers(named)
        event |= {"datacontenttype": content_type, "data": orjson.loads(body)}
    _check(event)
    return event


def _of_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            assert _HEADER_VALUE.fullmatch(value), f"{name} is not printable ASCII: {value!r}"
            assert '"' not in value
            assert not _ESCAPED.search(value), f"{name} has a bare percent sign: {value!r}"
            found[name.removeprefix("ce-")] = unquote_to_bytes(value).decode("utf-8", "strict")
    assert "datacontenttype" not in found, "it is Content-Type in binary mode"
    return found


def _check(event: dict[str, Any]) -> None:
    assert event.keys() >= REQUIRED
    for name, value in event.items():
        assert _NAME.fullmatch(name), f"not a name of an attribute: {name}"
        if name not in {"data", "data_base64"}:
            assert isinstance(value, str), f"{name} is no text: {value!r}"
            assert value, f"{name} is empty"
            assert not _FORBIDDEN.search(value), f"{name} has forbidden characters: {value!r}"
    assert event["specversion"] == "1.0"
    assert _URI_REFERENCE.fullmatch(event["source"])
    urlsplit(event["source"])
    if "time" in event:
        assert _TIME.fullmatch(event["time"]), f"not RFC 3339: {event['time']}"
        datetime.fromisoformat(event["time"])
