"""Labels: what goes wrong in traffic, and when, as `campaign-streams simulate --labels` writes it.

A file has one JSON object a line. Needed are `campaign_id`, `statuses`, `start_ms` and `end_ms` (ms
since the epoch, end exclusive); `decoy` says that it should raise no alert, `kind` is for people.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from streams.errors import UserError
from streams.terminal import abbreviated, printable

_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=32_503_680_000_000)]


class Label(msgspec.Struct, frozen=True):
    """One incident or decoy of one campaign, at event times [start_ms, end_ms), UTC."""

    campaign_id: str
    start_ms: _Time
    end_ms: _Time
    statuses: tuple[str, ...] = ()
    decoy: bool = False
    kind: str = "incident"


_decode = msgspec.json.Decoder(Label).decode


def read_labels(file: Path) -> list[Label]:
    """Read a file of labels.

    Raises:
        UserError: names the file, the line and what is wrong.
    """
    labels = []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    labels.append(_label(f"{file}, line {number}", line))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    return labels


def _label(place: str, line: bytes) -> Label:
    shown = abbreviated(printable(line.decode(errors="replace").strip()), 80)
    try:
        label = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{place}: is no label ({error}): {shown}") from None
    if label.end_ms <= label.start_ms:
        raise UserError(f"{place}: end_ms is {label.end_ms}: expected more than start_ms")
    if not label.decoy and not label.statuses:
        raise UserError(f"{place}: an incident without statuses: {shown}")
    return label
