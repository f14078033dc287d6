"""Text on its way to a terminal: names and bytes come from anybody, and must not steer it.

What is not printable in Unicode's sense is written as an escape: control characters of ASCII and
ISO 6429 (C0, DEL, C1), marks that change the direction of text, invisible characters, and lone
surrogates.
"""

import re

_NOT_ASCII_PRINTABLE = re.compile(r"[^\x20-\x7e\n]")


def printable(text: str) -> str:
    r"""Write each character that is not printable as Python does: `\x1b`, `\u202e`, `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def abbreviated(text: str, most: int) -> str:
    """Leave out the middle of a text that is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def printable_lines(text: str) -> str:
    """Do the same, but keep line feeds, for texts that are meant to have several lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    r"""Write the same characters as JSON does, `\u001b`: the document stays what it is.

    Args:
        text: a JSON document; outside of its strings there are only line feeds and ASCII.
    """
    return _NOT_ASCII_PRINTABLE.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
