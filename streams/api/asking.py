"""One request, as the answers see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from streams.api.parameters import Parameter

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, taken apart.

    Args:
        method: GET or POST; a HEAD is asked as GET.
        target: path and query as they came, for other workers.
        path: the values of the path's parameters.
        query: the values of the query's parameters, already read.
        headers: as they came.
    """

    method: str
    target: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]

    def get(self, parameter: Parameter[T], default: D) -> T | D:
        """Return the value of a query parameter, or what holds without it."""
        value: T | D = self.query.get(parameter.name, default)
        return value

    def allows(self, filter_: Parameter[str], value: str | None) -> bool:
        """Tell whether an item with this value passes a filter; all do if it is not given."""
        return self.get(filter_, value) == value
