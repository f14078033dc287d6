"""The newest dead letters: records that could not be counted."""

from http import HTTPStatus

from streams.api.answers import DeadLetter, DeadLetters
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import whole
from streams.api.problems import ProblemError
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain.dead_letters import DeadLetterSample
from streams.domain.transitions import rfc3339
from streams.errors import UserError

_DEFAULT_LIMIT = 20
LIMIT = whole("limit", 1, 50, f"How many at most; {_DEFAULT_LIMIT} without it.")


async def dead_letters(context: Context, ask: Ask) -> DeadLetters:
    """Answer with the newest dead letters, read from their topic."""
    try:
        found = await context.dead_letters.newest()
    except UserError as error:
        headers = {"Retry-After": "5"}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers) from None
    newest = found.letters[: ask.get(LIMIT, _DEFAULT_LIMIT)]
    return DeadLetters(
        as_of=rfc3339(context.now()),
        complete=found.complete,
        dead_letters=list(map(_shown, newest)),
    )


def _shown(letter: DeadLetterSample) -> DeadLetter:
    return DeadLetter(
        place=f"{letter.partition}:{letter.offset}",
        failed_at=rfc3339(letter.failed_at),
        reason=letter.reason,
        detail=letter.detail,
        source_topic=letter.source_topic,
        source_partition=letter.source_partition,
        source_offset=letter.source_offset,
        size=letter.size,
        truncated=letter.truncated,
        replayed=letter.replayed,
        beginning=letter.beginning,
    )


ROUTES = (
    Route(
        "/v1/dead-letters",
        dead_letters,
        "The newest records that could not be counted",
        DeadLetters,
        (LIMIT,),
        rows=Rows("dead_letters", DeadLetter),
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
)
