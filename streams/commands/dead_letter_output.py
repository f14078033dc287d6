"""How dead letters are shown: a table for people, JSON for programs."""

from base64 import b64encode
from collections.abc import Iterator

import click
from rich import box
from rich.table import Table
from rich.text import Text

from streams.commands import common, tables
from streams.domain.transitions import rfc3339
from streams.engine.dead_letters.listing import DeadLetter, Listing
from streams.terminal import printable

SHOWN_BYTES = 200
WIDE = 250
"""Columns of the table where no terminal says how many there are."""


def as_json(letter: DeadLetter, *, replayed: bool) -> dict[str, object]:
    """Return what `--json` prints of a dead letter."""
    return {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "failed_at": rfc3339(letter.failed_at),
        "reason": letter.reason,
        "detail": letter.detail,
        "source_topic": letter.source_topic,
        "source_partition": letter.source_partition,
        "source_offset": letter.source_offset,
        "size": letter.size,
        "original_size": letter.size if letter.original_size is None else letter.original_size,
        "truncated": list(letter.truncated),
        "replayed": replayed,
        **_text("key", letter.key),
        **_text("value", letter.value),
        "headers": [{"name": name, **_text("value", value)} for name, value in letter.headers],
    }


def _text(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(value or b"").decode()}


def print_table(listing: Listing, *, values: bool) -> None:
    """Print the dead letters, newest last, and how many there are by reason."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("where", "failed at", "reason", "source", "size", "replayed", "detail"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    if values:
        table.add_column("value", overflow="fold")
    for letter in listing.letters:
        cells = _cells(letter, replayed=letter.place in listing.replayed)
        value = [_beginning(letter.value)] if values else []
        table.add_row(*(Text(printable(cell)) for cell in (*cells, *value)))
    tables.print_table(table, WIDE)
    _print_summary(listing)


def _print_summary(listing: Listing) -> None:
    total, shown = listing.reasons.total(), len(listing.letters)
    newest = f", the newest {shown:,} are shown" if shown < total else ""
    by_reason = ", ".join(
        f"{reason} {count:,}" for reason, count in sorted(listing.reasons.items(), key=_most_first)
    )
    letters = "dead letter" if total == 1 else "dead letters"
    click.echo()
    common.say(f"{total:,} {letters}{newest}: {by_reason}")


def _cells(letter: DeadLetter, *, replayed: bool) -> Iterator[str]:
    yield str(letter.place)
    yield rfc3339(letter.failed_at)
    yield letter.reason
    came_from = (letter.source_topic, letter.source_partition, letter.source_offset)
    yield ":".join("?" if part is None else str(part) for part in came_from)
    cut = f" of {letter.original_size or 0:,}" if letter.truncated else ""
    yield f"{letter.size:,}{cut}"
    yield "yes" if replayed else ""
    yield letter.detail


def _beginning(value: bytes | None) -> str:
    if value is None:
        return "(null)"
    more = f"… ({len(value):,} bytes)" if len(value) > SHOWN_BYTES else ""
    return value[:SHOWN_BYTES].decode(errors="backslashreplace") + more


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    reason, count = item
    return -count, reason
