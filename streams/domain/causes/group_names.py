"""Names that alerts are grouped under: their rule, for groups by cause, or what is made here.

    labels:["app_id","rule"]#3    by these labels, shard 3
    limit:ops                     beyond the rate limit of receiver ops

No rule has a colon in its name. Alerts that have the values of the labels in common are in one
shard; so the tellers of a grouping are as many lanes as there are, and the record of each is small.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec

_LABELS, _LIMIT = "labels:", "limit:"
_KEY_DIGITS = 24

_encode = msgspec.json.Encoder().encode


class Grouping(NamedTuple):
    """What an alert has in common with others.

    Attributes:
        name: that it is grouped under.
        key: the same for all alerts under this name that belong together.
        labels: what it stands for.
    """

    name: str
    key: str
    labels: dict[str, str]


def by_labels(names: Iterable[str], labels: Mapping[str, str], shards: int) -> Grouping:
    """Return what alerts have in common that have the same values of some labels.

    Args:
        names: of the labels.
        labels: of the alert; one that it lacks is the empty text.
        shards: how many there are.
    """
    names = sorted(names)
    values = {name: labels.get(name, "") for name in names}
    key = sha256(_encode(list(values.items()))).hexdigest()[:_KEY_DIGITS]
    name = f"{_LABELS}{_encode(names).decode()}#{int(key, 16) % shards}"
    return Grouping(name, key, values)


def by_limit(receiver: str) -> Grouping:
    """Return what alerts have in common that are beyond the rate limit of a receiver."""
    return Grouping(f"{_LIMIT}{receiver}", receiver, {})


def is_by_labels(name: str) -> bool:
    """Tell whether a name is that of a grouping by labels."""
    return name.startswith(_LABELS)


def is_by_limit(name: str) -> bool:
    """Tell whether a name is that of what is beyond a rate limit."""
    return name.startswith(_LIMIT)


def is_by_cause(name: str) -> bool:
    """Tell whether a name is that of a rule."""
    return not (is_by_labels(name) or is_by_limit(name))
