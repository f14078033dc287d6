"""The text format in which metrics are asked for.

Prometheus says in `Accept` which formats and versions it reads, best first by `q` (RFC 9110, 12.5.1
and https://prometheus.io/docs/instrumenting/content_negotiation/). Metric and label names here are
of letters, digits and underscores, so `escaping` changes nothing.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

_OPENMETRICS, _TEXT = "application/openmetrics-text", "text/plain"
_OF_OPENMETRICS = ("1.0.0", "0.0.1")
_OF_TEXT = ("0.0.4", "1.0.0")
_ANY = ("*/*", "text/*")
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)

Write: TypeAlias = Callable[[CollectorRegistry], bytes]


class _Range(NamedTuple):
    """One media range of `Accept`: what is taken, and how gladly (0 to 1)."""

    quality: float
    media_type: str
    parameters: dict[str, str]


def negotiate(accept: str) -> tuple[Write, str]:
    """Return what writes the metrics, and the content type of that.

    Args:
        accept: the header of the request; may be empty. What is not known in it is left out, and if
            nothing is left, metrics are written in the text format 0.0.4.
    """
    ranges = sorted(_ranges(accept), key=lambda each: -each.quality)
    for each in ranges:
        written = _written(each) if each.quality else None
        if written is not None:
            return written
    return _text("0.0.4", {})


def _ranges(accept: str) -> Iterator[_Range]:
    for each in accept.split(","):
        media_type, *parameters = (part.strip() for part in each.split(";"))
        named = dict(_parameter(parameter) for parameter in parameters)
        quality = named.get("q", "1")
        if _QUALITY.fullmatch(quality):
            yield _Range(float(quality), media_type.lower(), named)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _written(wanted: _Range) -> tuple[Write, str] | None:
    version = wanted.parameters.get("version")
    if wanted.media_type == _OPENMETRICS and (version or _OF_OPENMETRICS[0]) in _OF_OPENMETRICS:
        return _openmetrics(version or _OF_OPENMETRICS[0], wanted.parameters)
    if wanted.media_type == _TEXT and (version or _OF_TEXT[0]) in _OF_TEXT:
        return _text(version or _OF_TEXT[0], wanted.parameters)
    if wanted.media_type in _ANY:
        return _text(_OF_TEXT[0], {})
    return None


def _openmetrics(version: str, parameters: dict[str, str]) -> tuple[Write, str]:
    write = partial(generate_openmetrics, version=version)
    return write, _content_type(_OPENMETRICS, version, parameters)


def _text(version: str, parameters: dict[str, str]) -> tuple[Write, str]:
    return generate_latest, _content_type(_TEXT, version, parameters)


def _content_type(media_type: str, version: str, parameters: dict[str, str]) -> str:
    content_type = f"{media_type}; version={version}; charset=utf-8"
    if version != "1.0.0":  # the first with escaping
        return content_type
    allowed = parameters.get("escaping") == "allow-utf-8"
    return f"{content_type}; escaping={'allow-utf-8' if allowed else 'underscores'}"
