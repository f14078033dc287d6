"""One request, as the answers see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from streams.api.callers import ANYBODY, Caller
from streams.api.costs import Budget
from streams.api.parameters import Parameter
from streams.api.problems import ProblemError, refuse

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound=msgspec.Struct)


class Asker(NamedTuple):
    """Who asks, as far as the server knows it.

    Attributes:
        token: the name of their token; null for none.
        via: the kind of receiver that says that somebody has asked for it; null for none.
    """

    token: str | None = None
    via: str | None = None

    @property
    def header(self) -> str:
        """The same for another worker, as a header's value; empty for nobody in particular."""
        return f"{self.via or ''};{self.token or ''}" if any(self) else ""

    @classmethod
    def of_header(cls, value: str) -> "Asker":
        """Return what another worker says."""
        via, _, token = value.partition(";")
        return cls(token or None, via or None)


NOBODY = Asker()
UNNAMED = "api"
"""Who has asked, where neither the request names anybody nor there is a token."""


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
        asker: who asks.
        caller: who asks.
        budget: what the request may cost.
        touched: what the request is found to be about, beside what its path and query say: names
            and values, for the log of changes.
    """

    method: str
    target: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes = b""
    asker: Asker = NOBODY
    caller: Caller = ANYBODY
    budget: Budget = field(default_factory=Budget)
    touched: dict[str, object] = field(default_factory=dict)

    def get(self, parameter: Parameter[T], default: D) -> T | D:
        """Return the value of a query parameter, or what holds without it."""
        value: T | D = self.query.get(parameter.name, default)
        return value

    def allows(self, filter_: Parameter[str], value: str | None) -> bool:
        """Tell whether an item with this value passes a filter; all do if it is not given."""
        return self.get(filter_, value) == value

    def attributed(self, parameter: Parameter[str]) -> "Ask":
        """Return the request with its token's name in a parameter that names nobody.

        Other workers are told, too.

        Raises:
            ProblemError: 400, if there is no token either.
        """
        if parameter.name in self.query:
            return self
        if self.asker.token is None:
            refuse(f"{parameter.name} is missing: {parameter.description}")
        return self.with_query(parameter.name, self.asker.token)

    def with_query(self, name: str, value: str) -> "Ask":
        """Return the request with a parameter of the query that it has not."""
        joint = "&" if "?" in self.target else "?"
        target = f"{self.target}{joint}{urlencode({name: value})}"
        return replace(self, target=target, query={**self.query, name: value})

    def sees(self, campaign_id: str, app_id: str | None) -> bool:
        """Tell whether the caller may see what is about a campaign of an app."""
        return self.caller.visible.sees(campaign_id, app_id)

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
