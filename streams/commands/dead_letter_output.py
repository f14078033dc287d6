"""How dead letters are shown: a table for people; JSON, NDJSON and CSV for programs."""

from base64 import b64encode
from collections.abc import Iterator

import click

from streams.api.tabular import csv_lines
from streams.commands import common, tables
from streams.commands.rows import Form, write_csv
from streams.commands.tables import Column
from streams.domain.transitions import rfc3339
from streams.engine.dead_letters.listing import DeadLetter, Listing

SHOWN_BYTES = 200
_TABLE = (
    Column("where", 0, 8),
    Column("failed at", 2, 20),
    Column("reason", 0, 12),
    Column("source", 3, 12),
    Column("size", 3),
    Column("replayed", 2),
    Column("detail", 1, 12),
)
_CSV = (
    *("partition", "offset", "failed_at", "reason", "detail"),
    *("source_topic", "source_partition", "source_offset", "size", "original_size", "truncated"),
    *("replayed", "key", "key_base64", "value", "value_base64", "headers"),
)


def print_letters(listing: Listing, form: Form) -> None:
    """Print the dead letters, newest last, for a program: in any form but the table."""
    shown = [
        as_json(letter, replayed=letter.place in listing.replayed) for letter in listing.letters
    ]
    if form == "csv":
        write_csv("".join(csv_lines(_CSV, shown)))
    elif form == "json":
        common.print_json(shown, indent=2)
    else:
        for letter in shown:
            common.print_json(letter)


def as_json(letter: DeadLetter, *, replayed: bool) -> dict[str, object]:
    """Return what a program is shown of a dead letter."""
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
    columns = (*_TABLE, Column("value", 4, 12)) if values else _TABLE
    rows = [
        [
            *_cells(letter, replayed=letter.place in listing.replayed),
            *([_beginning(letter.value)] if values else []),
        ]
        for letter in listing.letters
    ]
    tables.print_table(columns, rows)
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
