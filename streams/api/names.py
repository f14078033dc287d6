"""What campaigns and apps are called. Every worker knows all names, so nobody else is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from streams.api import answers
from streams.api.asking import Ask
from streams.api.context import Context, NamesOfKind
from streams.api.parameters import Parameter, text
from streams.api.problems import ProblemError, being_read, not_found
from streams.api.routing import Handler, Route
from streams.domain.names import LONGEST_NAME, BadNameError
from streams.errors import UserError

_Name: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_NAME,
        description="One line of text, without control characters.",
    ),
]


class NewName(msgspec.Struct, forbid_unknown_fields=True):
    """A name to be given."""

    name: _Name


@dataclass(frozen=True, slots=True)
class _Kind:
    """The names of campaigns, or of apps.

    Args:
        kind: what has the names.
        of: finds the names.
    """

    kind: str
    of: Callable[[Context], NamesOfKind]

    @property
    def parameter(self) -> Parameter[str]:
        return text(f"{self.kind}_id", f"The {self.kind}'s id, percent-encoded.")

    def id_in(self, ask: Ask) -> str:
        return ask.path[self.parameter.name]

    def nameless(self, context: Context, its_id: str) -> ProblemError:
        """Return the problem of what has no name, as far as that is known."""
        if not self.of(context).is_read:
            return being_read("names")
        return not_found(f"{self.kind} {its_id} has no name")

    async def get(self, context: Context, ask: Ask) -> answers.Name:
        its_id = self.id_in(ask)
        name = self.of(context).book.of(its_id)
        if name is None:
            raise self.nameless(context, its_id)
        return answers.Name(its_id, name)

    async def put(self, context: Context, ask: Ask) -> answers.Name:
        its_id, asked = self.id_in(ask), ask.read_body(NewName)
        try:
            return answers.Name(its_id, await self.of(context).set(its_id, asked.name))
        except BadNameError as error:
            detail = f"name: {error}"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from error
        except UserError as error:
            raise _unavailable(error) from error

    async def delete(self, context: Context, ask: Ask) -> answers.Name:
        its_id = self.id_in(ask)
        try:
            name = await self.of(context).remove(its_id)
        except UserError as error:
            raise _unavailable(error) from error
        if name is None:
            raise self.nameless(context, its_id)
        return answers.Name(its_id, name)


def _routes(path: str, of: _Kind) -> tuple[Route, ...]:
    def route(method: str, handle: Handler, summary: str) -> Route:
        return Route(
            path,
            handle,
            summary,
            answers.Name,
            (of.parameter,),
            method=method,
            body=NewName if method == "PUT" else None,
            scope="read" if method == "GET" else "write",
        )

    return (
        route("GET", of.get, f"What the {of.kind} is called"),
        route("PUT", of.put, f"Give the {of.kind} a name, which every worker then knows"),
        route("DELETE", of.delete, f"Take the {of.kind}'s name away"),
    )


def _unavailable(error: UserError) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"})


ROUTES = (
    *_routes(
        "/v1/campaigns/{campaign_id}/name",
        _Kind("campaign", lambda context: context.names.campaigns),
    ),
    *_routes("/v1/apps/{app_id}/name", _Kind("app", lambda context: context.names.apps)),
)
