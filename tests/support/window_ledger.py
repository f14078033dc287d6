"""What is in `campaign-windows`: each window and correction once, with the figures of the API."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jsonschema
import orjson

from streams.outputs.windows import json_schema
from tests.support.topics import Read

Figures: TypeAlias = Mapping[str, Any]
"""Of a window: `counts`, `engagement`, `attempts`, `late_events`; and `rates`, by group."""


class WindowName(NamedTuple):
    """A campaign and a window: start and end, RFC 3339."""

    campaign_id: str
    start: str
    end: str


class WindowLedger:
    """The results so far: the newest of each window, campaign and partition.

    `may_repeat` says whether a window may have opened again, by another grace, and then closed with
    the figures that it had.
    """

    def __init__(self) -> None:
        self.records = 0
        self.may_repeat = False
        self._newest: dict[WindowName, dict[int, Figures]] = {}
        self._problems: list[str] = []
        self._schema = jsonschema.Draft202012Validator(json_schema())

    def take(self, record: Read) -> None:
        """Read a result; those of one campaign, window and partition come in order."""
        self.records += 1
        value = orjson.loads(record.value or b"")
        self._schema.validate(value)
        assert record.key == value["campaign_id"].encode()
        name = WindowName(value["campaign_id"], value["start"], value["end"])
        of_it = self._newest.setdefault(name, {})
        before = of_it.get(value["partition"])
        expected = before["revision"] + 1 if before else 1
        kind = "closed" if expected == 1 else "corrected"
        if value["revision"] != expected or value["type"] != f"campaign.window.{kind}":
            self._problems.append(
                f"{tuple(name)} in {value['partition']}: {value['type']} {value['revision']} comes "
                f"where {kind} {expected} has to"
            )
        if before and _events(before) + (not self.may_repeat) > _events(value):
            self._problems.append(f"{tuple(name)}: revision {value['revision']} corrects nothing")
        of_it[value["partition"]] = value

    def names(self) -> set[WindowName]:
        """Return the windows that have a result."""
        return set(self._newest)

    def figures(self, name: WindowName) -> Figures | None:
        """Return the figures that hold for a window, of all partitions; null if there are none."""
        parts = list(self._newest.get(name, {}).values())
        if not parts:
            return None
        counts, engagement = Counter[str](), Counter[str]()
        for part in parts:
            counts.update(part["counts"])
            engagement.update(part["engagement"])
        return {
            "counts": dict(counts),
            "engagement": dict(engagement),
            "attempts": sum(part["attempts"] for part in parts),
            "late_events": sum(part["late_events"] for part in parts),
            **({"rates": parts[0]["rates"]} if len(parts) == 1 else {}),
        }

    def difference(self, name: WindowName, window: Figures) -> str | None:
        """Compare a window with what the API answers of it; return what differs, if anything."""
        found = self.figures(name)
        if found is None:
            return f"{tuple(name)} has no result"
        for key, value in found.items():
            said = window[key]
            # The API shows fewer groups.
            mine = {group: value[group] for group in said} if key == "rates" else value
            if mine != said:
                return f"{tuple(name)} has {key} {mine} in its result, and {said} in the API"
        return None

    def problems(self) -> list[str]:
        """Return what was wrong with records, each thing once."""
        found, self._problems = self._problems, []
        return found


def _events(value: Figures) -> int:
    events: int = sum([*value["counts"].values(), *value["engagement"].values()])
    return events
