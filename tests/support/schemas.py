"""The published JSON Schemas, read strictly: what they do not describe is not sent."""

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import orjson

from streams.domain import group_transitions, receiver_events, transitions

PUBLISHED: Mapping[str, Callable[[], dict[str, object]]] = {
    "alert-transition": transitions.json_schema,
    "group-transition": group_transitions.json_schema,
    "receiver-event": receiver_events.json_schema,
}
"""The schemas of what receivers are sent, by the last part of their paths at the API."""
_PREFIXES = {
    "campaign.alert.": "alert-transition",
    "campaign.group.": "group-transition",
    "receiver.": "receiver-event",
}


def strict(schema: Any) -> Any:
    """Return a schema that refuses properties which it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(value) for name, value in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


_VALIDATORS = {
    name: jsonschema.Draft202012Validator(strict(make())) for name, make in PUBLISHED.items()
}


def check(value: Any) -> None:
    """Check a body by its type.

    Raises:
        AssertionError: no schema is published for its type.
        jsonschema.ValidationError: it is not as described.
    """
    found = [name for prefix, name in _PREFIXES.items() if value["type"].startswith(prefix)]
    assert found, f"no schema for {value['type']}"
    _VALIDATORS[found[0]].validate(value)


def check_data(type_: str, data: Any) -> None:
    """Check what a kind with an envelope of its own sends of a body: its `data`."""
    check({"type": type_, "timestamp": "", "data": data})


def check_body(body: bytes) -> None:
    """Check a body that is whole; tests of what sends bodies have others, too."""
    value = orjson.loads(body)
    if isinstance(value, dict) and value.keys() >= {"type", "timestamp", "data"}:
        check(value)
