"""Detectors in answers: one struct for each kind, made from its settings."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct, defstruct

from streams.domain.detectors.detector import Detector
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import fields, values


def _struct_of(detector: type[Detector]) -> type[Struct]:
    keys: Iterable[tuple[str, Any]] = [(each.name, each.type) for each in fields(detector)]
    name = f"{detector.__name__}Detector"
    return defstruct(
        name, keys, tag_field="kind", tag=detector.kind, namespace={"__doc__": detector.__doc__}
    )


_BY_KIND = {detector.kind: _struct_of(detector) for detector in DETECTORS}

if TYPE_CHECKING:
    AnyDetector: TypeAlias = Struct
else:
    AnyDetector = reduce(or_, _BY_KIND.values())


def shown(detector: Detector) -> AnyDetector:
    """Return a detector with its kind and settings."""
    return _BY_KIND[detector.kind](**values(detector))
