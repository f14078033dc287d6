"""Names of campaigns and apps: what people call them, beside the ids that events have.

Every worker reads them whole from a compacted topic: the key of a record is an id (UTF-8), its
value `{"name": "…"}`. Anybody may write there, so what is no such record names nothing.
"""

import unicodedata
from dataclasses import dataclass, field

import msgspec

LONGEST_NAME = 200
"""Characters of a name."""
LONGEST_ID = 4_096
"""Bytes of an id that can have a name."""
MOST_NAMES = 200_000
"""Names that a worker keeps, of campaigns and of apps each."""

_BIDI_CONTROLS = frozenset(
    map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class BadNameError(ValueError):
    """It is no name, or there is no room for it; says why."""


class NameRecord(msgspec.Struct):
    """The value of a record: other fields are not heeded."""

    name: str


def checked(name: str) -> str:
    """Return a name without blanks around it.

    Raises:
        BadNameError: if it is empty, too long, or has characters that control how it is shown.
    """
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise BadNameError(f"expected 1 to {LONGEST_NAME} characters, found {len(name)}")
    if any(each in _BIDI_CONTROLS or unicodedata.category(each) in _CONTROLS for each in name):
        raise BadNameError("expected one line of text, without control characters")
    return name


def encode(name: str) -> bytes:
    """Return the value of the record that gives a name."""
    return msgspec.json.encode(NameRecord(name))


_decode = msgspec.json.Decoder(NameRecord).decode


class NameBook:
    """The names of one topic, by id.

    Args:
        most: how many it keeps.

    Attributes:
        skipped: how many records there were that name nothing.
    """

    def __init__(self, most: int = MOST_NAMES) -> None:
        self.skipped = 0
        self._most = most
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def clear(self) -> None:
        """Forget all names."""
        self._names.clear()

    def of(self, its_id: str | None) -> str | None:
        """Return the name of an id; null if it has none."""
        return self._names.get(its_id) if its_id is not None else None

    def with_text(self, text: str) -> frozenset[str]:
        """Return the ids whose names have a text, given in lower case; none for empty text."""
        if not text:
            return frozenset()
        return frozenset(each for each, name in self._names.items() if text in name.lower())

    def check_room(self, its_id: str) -> None:
        """Check that an id can have a name.

        Raises:
            BadNameError: if the id is too long, or there are as many names as can be.
        """
        if len(its_id.encode(errors="replace")) > LONGEST_ID:
            raise BadNameError(f"an id of more than {LONGEST_ID} bytes cannot have a name")
        if its_id not in self._names and len(self._names) >= self._most:
            raise BadNameError(f"there are {self._most} names already: delete some")

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic; null removes the name.

        One that names nothing removes it, too: it has taken the place of the one before it, so a
        worker that starts later never sees that.

        Raises:
            BadNameError: if the record names nothing; says why.
        """
        try:
            its_id = key.decode()
            if value is None:
                self._names.pop(its_id, None)
                return
            name = checked(_decode(value).name)
            self.check_room(its_id)
        except (UnicodeDecodeError, msgspec.MsgspecError, BadNameError) as error:
            self._names.pop(key.decode(errors="replace"), None)
            self.skipped += 1
            raise BadNameError(str(error)) from None
        self._names[its_id] = name


@dataclass(frozen=True, slots=True)
class Names:
    """What campaigns and apps are called; it changes."""

    campaigns: NameBook = field(default_factory=NameBook)
    apps: NameBook = field(default_factory=NameBook)


NAMELESS = Names()
"""Names where nothing has one. Nobody adds any."""
