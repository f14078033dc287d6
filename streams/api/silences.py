"""Silences: made, listed and ended. Every worker knows all of them, so nobody else is asked."""

import uuid
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from streams.api import answers
from streams.api.asking import UNNAMED, Ask
from streams.api.context import Context
from streams.api.newest import CURSOR, DEFAULT_LIMIT, LIMIT
from streams.api.paging import Pager, Position, read_cursor
from streams.api.parameters import NOT_BLANK, choice, read_moment, text
from streams.api.problems import ProblemError, being_read, not_found, refuse
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain.silences.matchers import Matcher, MatcherError, parse
from streams.domain.silences.recurrence import Recurrence
from streams.domain.silences.silence import (
    LONGEST_COMMENT,
    LONGEST_CREATOR,
    MOST_MATCHERS,
    CompiledSilence,
    Silence,
    SilenceError,
)
from streams.domain.transitions import in_ms, rfc3339
from streams.errors import UserError

STATE = choice("state", ("pending", "active", "expired"), "Only silences in this state.")
SILENCE_ID = text("silence_id", "The silence's id.")
ENDED_BY = text(
    "ended_by", "Who ends it; without it, the name of the token, or `api` where there is none."
)

_ORDER = "silences"
_NOT_BLANK = {"pattern": NOT_BLANK}
_Creator = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_CREATOR, extra_json_schema=_NOT_BLANK)
]
_Comment = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_COMMENT, extra_json_schema=_NOT_BLANK)
]
_Matchers = Annotated[list[str], Meta(min_length=1, max_length=MOST_MATCHERS)]
_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class NewSilence(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A silence to be made.

    Without `created_by` it is made by whoever the token is of. Without `starts_at` it starts now.
    With a `recurrence`, `ends_at` may be left out.
    """

    matchers: _Matchers
    comment: _Comment
    created_by: _Creator | None = None
    starts_at: _Time | None = None
    ends_at: _Time | None = None
    recurrence: Recurrence | None = None


def show(compiled: CompiledSilence, now: float) -> answers.Silence:
    """Return a silence as the API shows it, at `now` (s, UTC)."""
    silence = compiled.silence
    return answers.Silence(
        silence_id=silence.silence_id,
        state=compiled.state(now),
        matchers=list(map(str, silence.matchers)),
        starts_at=rfc3339(silence.starts_at),
        ends_at=None if silence.ends_at is None else rfc3339(silence.ends_at),
        recurrence=silence.recurrence,
        created_by=silence.created_by,
        comment=silence.comment,
        created_at=rfc3339(silence.created_at),
        ended_at=None if silence.ended_at is None else rfc3339(silence.ended_at),
        ended_by=silence.ended_by,
        created_token=silence.created_token,
        ended_token=silence.ended_token,
    )


async def silences(context: Context, ask: Ask) -> answers.Silences:
    """Answer with silences, newest first."""
    _check_read(context)
    now = context.now()
    pager = Pager(
        _ORDER,
        descending=True,
        position=_position,
        limit=ask.get(LIMIT, DEFAULT_LIMIT),
        cursor=read_cursor(ask.get(CURSOR, None), _ORDER),
    )
    page, next_cursor = await pager.cut(
        context.silences.book.silences(),
        lambda each: _sees(ask, each) and ask.allows(STATE, each.state(now)),
    )
    shown = [show(each, now) for each in page]
    return context.stamp(answers.Silences(as_of="", silences=shown, next_cursor=next_cursor), ())


def _position(compiled: CompiledSilence) -> Position:
    return Position(in_ms(compiled.silence.created_at), compiled.silence.silence_id)


async def one_silence(context: Context, ask: Ask) -> answers.OneSilence:
    """Answer with one silence."""
    _check_read(context)
    found = context.silences.book.get(ask.path["silence_id"])
    if found is None or not _sees(ask, found):
        raise _nowhere(ask)
    return _answer(context, found)


def _sees(ask: Ask, silence: CompiledSilence) -> bool:
    return ask.caller.visible.sees_silence(silence)


async def make(context: Context, ask: Ask) -> answers.OneSilence:
    """Make a silence."""
    _check_read(context)
    asked = ask.read_body(NewSilence)
    now = context.now()
    silence = Silence(
        silence_id=str(uuid.uuid4()),
        matchers=tuple(map(_matcher, asked.matchers)),
        starts_at=now if asked.starts_at is None else _moment("starts_at", asked.starts_at),
        ends_at=None if asked.ends_at is None else _moment("ends_at", asked.ends_at),
        created_by=_creator(ask, asked),
        created_token=ask.asker.token,
        comment=asked.comment,
        created_at=now,
        recurrence=asked.recurrence,
    )
    ask.touched["silence_id"] = silence.silence_id
    ask.touched["matchers"] = ", ".join(map(str, silence.matchers))
    _check_visible(ask, silence)
    try:
        await context.silences.make(silence)
    except SilenceError as error:
        raise _impossible(str(error)) from error
    except UserError as error:
        raise _unavailable(error) from error
    return _answer(context, CompiledSilence(silence))


def _creator(ask: Ask, asked: NewSilence) -> str:
    found = asked.created_by or ask.asker.token
    if found is None:
        refuse("the body: created_by is missing: say who makes it, or ask with a token")
    return found


def _check_visible(ask: Ask, silence: Silence) -> None:
    """Refuse a silence that could be about alerts that the caller may not see.

    Raises:
        ProblemError: 403.
    """
    if ask.caller.visible.is_whole:
        return
    try:
        compiled = CompiledSilence(silence)
    except ValueError:
        return  # whoever makes it says all that is wrong with it
    if not _sees(ask, compiled):
        detail = (
            "this token may silence alerts of some campaigns only: add matchers that list them, "
            "with = or with =~ and a|b: campaign_id, app_id or both, as its patterns are about"
        )
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)


async def end(context: Context, ask: Ask) -> answers.OneSilence:
    """End a silence."""
    _check_read(context)
    known = context.silences.book.get(ask.path["silence_id"])
    if known is not None and not _sees(ask, known):
        raise _nowhere(ask)
    try:
        token = ask.asker.token
        by = ask.get(ENDED_BY, token or UNNAMED)
        ended = await context.silences.end(ask.path["silence_id"], by, token)
    except UserError as error:
        raise _unavailable(error) from error
    if ended is None:
        raise _nowhere(ask)
    return _answer(context, CompiledSilence(ended))


def _check_read(context: Context) -> None:
    """Refuse to say of a silence that there is none, as long as that is not known."""
    if not context.silences.is_read:
        raise being_read("silences")


def _answer(context: Context, compiled: CompiledSilence) -> answers.OneSilence:
    shown = show(compiled, context.now())
    return context.stamp(answers.OneSilence(as_of="", silence=shown), ())


def _matcher(written: str) -> Matcher:
    try:
        return parse(written)
    except MatcherError as error:
        raise _impossible(f"matchers: {error}") from error


def _moment(name: str, written: str) -> float:
    try:
        return read_moment(written) / 1000
    except ValueError as error:
        raise _impossible(f"{name} {written[:50]!r}: {error}") from error


def _impossible(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _unavailable(error: UserError) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"})


def _nowhere(ask: Ask) -> ProblemError:
    silence_id = ask.path["silence_id"]
    return not_found(f"there is no silence {silence_id}, or it was over long ago: see /v1/silences")


ROUTES = (
    Route(
        "/v1/silences",
        silences,
        "Silences: which alerts nobody is notified of, newest first",
        answers.Silences,
        (STATE, LIMIT, CURSOR),
        rows=Rows("silences", answers.Silence),
        for_some=True,
    ),
    Route(
        "/v1/silences",
        make,
        "Make a silence, which every worker then knows",
        answers.OneSilence,
        method="POST",
        body=NewSilence,
        status=HTTPStatus.CREATED,
        scope="write",
        for_some=True,
    ),
    Route(
        "/v1/silences/{silence_id}",
        one_silence,
        "One silence",
        answers.OneSilence,
        (SILENCE_ID,),
        for_some=True,
    ),
    Route(
        "/v1/silences/{silence_id}",
        end,
        "End a silence",
        answers.OneSilence,
        (SILENCE_ID, ENDED_BY),
        method="DELETE",
        scope="write",
        for_some=True,
    ),
)
