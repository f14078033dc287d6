"""The event formats: how the bytes of a source record become an event.

A further format is one module here, with an instance of what `event_format` defines, and one line
in `registry`. The configuration (source.format), its messages and the default groups of statuses
follow from that.

- `event_format`: what a format is.
- `json_text`: what formats that are JSON have in common.
- `registry`: all formats, by name.
- `pinpoint`: Amazon Pinpoint's campaign events.
"""
