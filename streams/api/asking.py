"""One request, as the answers see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from streams.api.parameters import Parameter
from streams.api.problems import ProblemError, refuse

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, taken apart.

    Args:
        method: GET, POST, PUT or DELETE; a HEAD is asked as GET.
        target: path and query as they came, for other workers.
        path: the values of the path's parameters.
        query: the values of the query's parameters, already read.
        headers: as they came.
        body: as it came.
    """

    method: str
    target: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes = b""

    def get(self, parameter: Parameter[T], default: D) -> T | D:
        """Return the value of a query parameter, or what holds without it."""
        value: T | D = self.query.get(parameter.name, default)
        return value

    def allows(self, filter_: Parameter[str], value: str | None) -> bool:
        """Tell whether an item with this value passes a filter; all do if it is not given."""
        return self.get(filter_, value) == value

    def read_body(self, struct: type[S]) -> S:
        """Return what the body is.

        Raises:
            ProblemError: 415 if it is said to be no JSON, 400 if it is none, or not of this form.
        """
        media_type = self.headers.get("Content-Type", "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the body is {media_type[:100]}: expected application/json",
            )
        try:
            return msgspec.json.decode(self.body, type=struct)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            refuse(f"the body: {error}")
