"""All event formats. A further one is a module beside this one, and a line here."""

from streams.domain.formats.event_format import EventFormat
from streams.domain.formats.pinpoint import FORMAT as PINPOINT

FORMATS: dict[str, EventFormat] = {each.name: each for each in (PINPOINT,)}
"""By what `source.format` calls them."""

DEFAULT_FORMAT = PINPOINT.name
