"""The registry of event formats."""

from streams.domain.formats import pinpoint
from streams.domain.formats.registry import DEFAULT_FORMAT, FORMATS


def test_formats_are_found_by_their_names() -> None:
    assert all(name == each.name for name, each in FORMATS.items())
    assert FORMATS[DEFAULT_FORMAT] is pinpoint.FORMAT
    assert DEFAULT_FORMAT == "pinpoint"
