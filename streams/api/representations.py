"""How an answer is sent: in the form that a client asks for, or not at all if it has it already.

Forms follow `Accept` (RFC 9110, 12.5.1): JSON, and for lists CSV and NDJSON. Each answer to a GET
has an `ETag` (8.8.3) of what it says; `If-None-Match` with it is answered with 304. Large answers
are compressed for those who take gzip.
"""

import asyncio
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web

from streams.api.problems import ProblemError
from streams.api.tabular import CSV, NDJSON, columns_of, csv_lines, ndjson_lines

JSON = "application/json"
LIST_FORMS = (JSON, CSV, NDJSON)

SMALLEST_GZIP = 4_096
"""Bytes: what is smaller fits into a few packets anyway."""
_GZIP_IN_A_THREAD = 65_536
"""Bytes from which compressing takes some milliseconds, in which others would wait."""
_HASH_IN_A_THREAD = 1_048_576
"""Bytes from which hashing does."""
_GZIP_LEVEL = 1
_GZIP_WBITS = 31
_MOST_AT_ONCE = 2
"""Answers that are compressed at the same time; further ones are sent as they are."""
_ROWS_AT_A_TIME = 500
_TRANSIENT = ("as_of", "active_since", "next_cursor")
"""Fields that say when a question was answered. They are no part of what the answer says.

A cursor of a list that goes by time has the time in it; the page says the rest."""
_VARY = "Accept, Accept-Encoding"

_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a list: what CSV and NDJSON have of an answer.

    Args:
        name: the field of the answer that has the items.
        item: what one is.
        csv_item: what a row of CSV is; null for an item.
        csv_rows: makes rows of CSV of items as JSON has them; null for one of each.
    """

    name: str
    item: type[msgspec.Struct]
    csv_item: type[msgspec.Struct] | None = None
    csv_rows: Callable[[Iterable[dict[str, Any]]], Iterable[dict[str, Any]]] | None = None


class _Range(NamedTuple):
    media_type: str
    quality: float


def choose(accept: str, offered: Sequence[str]) -> str:
    """Return the form that fits `Accept` best; of those that fit alike, the first offered.

    Raises:
        ProblemError: 406, if none fits.
    """
    ranges = _ranges(accept) or [_Range("*/*", 1.0)]
    quality, _, form = max((_quality(each, ranges), -at, each) for at, each in enumerate(offered))
    if quality <= 0:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Accept: {accept[:200]}: this is answered as {' or '.join(offered)}",
        )
    return form


def _ranges(header: str) -> list[_Range]:
    """Read a header with qualities, as `Accept` and `Accept-Encoding` are."""
    ranges = []
    for part in header.split(","):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        if not name:
            continue
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _weight(value.strip())
        ranges.append(_Range(name, quality))
    return ranges


def _weight(value: str) -> float:
    """Read a quality, 0 to 1; what is none is 0."""
    return float(value) if _WEIGHT.fullmatch(value) else 0.0


def _quality(media_type: str, ranges: Iterable[_Range]) -> float:
    """Return how welcome a media type is: as the most specific range says that it is in."""
    family = media_type.partition("/")[0] + "/*"
    by_name: dict[str, float] = {}
    for each in ranges:
        by_name.setdefault(each.media_type, each.quality)
    for name in (media_type, family, "*/*"):
        if name in by_name:
            return by_name[name]
    return 0.0


async def represent(
    reply: msgspec.Struct, form: str, rows: Rows | None, status: HTTPStatus, target: str
) -> web.Response:
    """Return an answer in one of `LIST_FORMS`.

    Args:
        reply: the answer.
        form: how it is sent; any but JSON needs `rows`.
        rows: of the answer.
        status: of a success.
        target: the request's path and query, for a link to the next page.
    """
    if form == JSON or rows is None:
        return web.Response(status=status, body=_encode(reply), content_type=JSON, charset="utf-8")
    items = getattr(reply, rows.name)
    body = bytearray()
    if form == NDJSON:
        for some in _parts(items):
            body += b"".join(ndjson_lines(some))
            await asyncio.sleep(0)
        return web.Response(body=bytes(body), content_type=NDJSON, headers=_about(reply, target))
    columns = columns_of(rows.csv_item or rows.item)
    for at, some in enumerate(_parts(items)):
        shown: Iterable[dict[str, Any]] = msgspec.to_builtins(some)
        lines = csv_lines(columns, rows.csv_rows(shown) if rows.csv_rows else shown)
        if at:
            next(lines)
        body += "".join(lines).encode(errors="replace")
        await asyncio.sleep(0)
    headers = {"Content-Type": f"{CSV}; charset=utf-8; header=present", **_about(reply, target)}
    return web.Response(body=bytes(body), headers=headers)


def _parts(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Yield items in pieces, of which there is at least one."""
    return (
        items[at : at + _ROWS_AT_A_TIME] for at in range(0, max(1, len(items)), _ROWS_AT_A_TIME)
    )


def _about(reply: msgspec.Struct, target: str) -> dict[str, str]:
    """Return what JSON has beside its rows: the next page, and what is missing."""
    headers = {}
    cursor = getattr(reply, "next_cursor", None)
    if cursor is not None:
        path, _, query = target.partition("?")
        pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
        headers["Link"] = f'<{path}?{urlencode([*pairs, ("cursor", cursor)])}>; rel="next"'
    missing = getattr(reply, "missing_partitions", None)
    if missing:
        headers["Missing-Partitions"] = ", ".join(map(str, missing))
    complete_from = getattr(reply, "complete_from", None)
    if complete_from:
        headers["Complete-From"] = complete_from
    return headers


def says(reply: msgspec.Struct, form: str, response: web.Response) -> bytes:
    """Return what an answer says, whenever it was asked for.

    Args:
        reply: the answer.
        form: in which it is sent.
        response: has the answer in this form.
    """
    body = response.body
    said = body if form == JSON and isinstance(body, bytes) else _encode(reply)
    for name in _TRANSIENT:
        value = getattr(reply, name, None)
        if value:
            # Fields of the answer itself come before what is in them, and quotes in texts are
            # escaped: so this finds no other.
            said = said.replace(_encode({name: value})[1:-1], b"", 1)
    return said


class Sender:
    """Has answers left out that a client has already, and compresses large ones."""

    def __init__(self) -> None:
        self._compressing = 0

    async def ready(
        self, response: web.Response, headers: Any, meant: bytes | None = None
    ) -> web.Response:
        """Return the response to a GET as it is sent.

        Args:
            response: with a body in one piece.
            headers: of the request.
            meant: what the answer says; null for its body.
        """
        body = response.body
        if response.status != HTTPStatus.OK or not isinstance(body, bytes):
            return response
        response.headers.setdefault("Vary", _VARY)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        tag = await _etag(meant if meant is not None else body, response.content_type)
        response.headers["ETag"] = tag
        if has_tag(headers.get("If-None-Match", ""), tag):
            return _not_modified(response)
        return await self.compressed(response, headers)

    async def compressed(self, response: web.Response, headers: Mapping[str, str]) -> web.Response:
        """Compress a large response for a client that takes gzip."""
        body = response.body
        if (
            not isinstance(body, bytes)
            or len(body) < SMALLEST_GZIP
            or not takes_gzip(headers.get("Accept-Encoding", ""))
            or self._compressing >= _MOST_AT_ONCE
        ):
            return response
        self._compressing += 1
        try:
            in_thread = len(body) >= _GZIP_IN_A_THREAD
            response.body = await _work(_gzip, body, in_thread=in_thread)
        finally:
            self._compressing -= 1
        response.headers["Content-Encoding"] = "gzip"
        return response


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether `Accept-Encoding` allows gzip."""
    by_name = {each.media_type: each.quality for each in reversed(_ranges(accept_encoding))}
    return by_name.get("gzip", by_name.get("*", 0.0)) > 0


def has_tag(if_none_match: str, tag: str) -> bool:
    """Tell whether `If-None-Match` names a tag; both may be weak."""
    if if_none_match.strip() == "*":
        return True
    named = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return tag.removeprefix("W/") in named


def _not_modified(response: web.Response) -> web.Response:
    kept = ("ETag", "Vary", "Cache-Control", "Content-Security-Policy", "Link", "Complete-From")
    headers = {name: response.headers[name] for name in kept if name in response.headers}
    return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)


async def _etag(content: bytes, media_type: str) -> str:
    """Return a weak tag: the same answer a moment later differs in its time."""
    in_thread = len(content) >= _HASH_IN_A_THREAD
    digest = await _work(_digest, content, media_type.encode(), in_thread=in_thread)
    return f'W/"{digest}"'


def _digest(content: bytes, form: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12, key=form[:64]).hexdigest()


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    return compressor.compress(body) + compressor.flush()


async def _work(work: Callable[..., Any], *arguments: object, in_thread: bool) -> Any:
    """Do work; in a thread it lets others run beside."""
    if not in_thread:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)
