"""Many deliveries of one receiver made again: what it missed, or has lost.

How many match is counted at all workers before any is made again, so a request that matches too
many changes nothing. Each worker replays those of its own partitions.
"""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from streams.api import answers
from streams.api.asking import UNNAMED, Ask
from streams.api.cluster import Gathered
from streams.api.context import Context
from streams.api.deliveries import refuse_disabled
from streams.api.delivery_filters import FILTERS, passes
from streams.api.parameters import choice
from streams.api.problems import ProblemError, not_found
from streams.api.receivers import NAME
from streams.api.routing import Route, split_target
from streams.api.time_slices import TimeSlices
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import standing

MOST_REPLAYED = 10_000
"""By one request, of all workers together."""

STATE = choice(
    "state",
    ("given-up", "delivered"),
    "Which deliveries: those that were given up, as without it, or those that were delivered.",
)
DRY_RUN = choice("dry_run", ("true", "false"), "true: only say how many there are.")


async def replay(context: Context, ask: Ask) -> answers.Replayed:
    """Make deliveries of one receiver again."""
    name = ask.path["name"]
    if name not in context.settings.receivers:
        raise not_found(f"there is no receiver {name} in the configuration: see /v1/receivers")
    is_dry = ask.get(DRY_RUN, "false") == "true"
    if is_dry or context.cluster.is_asked_by_worker(ask):
        return _merged(context, name, await _replay(context, ask), dry_run=is_dry)
    counted = _merged(context, name, await _replay(context, _dry(ask)), dry_run=True)
    if counted.matched > MOST_REPLAYED:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            f"{counted.matched} deliveries match, and {MOST_REPLAYED} are the most that one "
            "request replays: give from and to, or another filter",
        )
    replayed = _merged(context, name, await _replay(context, ask), dry_run=False)
    ask.touched["replayed"] = replayed.replayed
    return replayed


def _dry(ask: Ask) -> Ask:
    """Return the same request as a dry run."""
    target = split_target(ask.target)
    others = [
        (name, value)
        for name, value in parse_qsl(target.query, keep_blank_values=True)
        if name != DRY_RUN.name
    ]
    query = urlencode([*others, (DRY_RUN.name, "true")])
    values = {**ask.query, DRY_RUN.name: "true"}
    return replace(ask, target=f"{target.path}?{query}", query=values)


async def _replay(context: Context, ask: Ask) -> Gathered[answers.Replayed]:
    """Replay at every worker what the request asks for, or only count it in a dry run."""
    name, is_dry = ask.path["name"], ask.get(DRY_RUN, "false") == "true"
    state, by = ask.get(STATE, "given-up"), ask.asker.token or UNNAMED

    async def local(partitions: Sequence[CampaignPartition]) -> answers.Replayed:
        refuse_disabled(name, standing(name, [each.receivers for each in partitions]))
        matched, replayed, slices = 0, 0, TimeSlices()
        for partition in partitions:
            outbox = partition.deliveries
            for delivery in outbox.deliveries():
                await slices()
                wanted = delivery.receiver == name and delivery.state == state
                if not wanted or not passes(delivery, ask):
                    continue
                matched += 1
                if not is_dry:
                    replayed += outbox.replay(delivery.delivery_id, context.now(), by)
        return answers.Replayed(
            as_of="", receiver=name, dry_run=is_dry, matched=matched, replayed=replayed
        )

    everywhere = context.cluster.everywhere()
    return await context.cluster.gather(ask, everywhere, answers.Replayed, local)


def _merged(
    context: Context, name: str, gathered: Gathered[answers.Replayed], *, dry_run: bool
) -> answers.Replayed:
    merged = answers.Replayed(
        as_of="",
        receiver=name,
        dry_run=dry_run,
        matched=sum(part.matched for part in gathered.parts),
        replayed=sum(part.replayed for part in gathered.parts),
    )
    return context.stamp(merged, gathered.missing)


ROUTES = (
    Route(
        "/v1/receivers/{name}/replay",
        replay,
        "Make deliveries of a receiver again: all that were given up, or some",
        answers.Replayed,
        (NAME, STATE, *FILTERS, DRY_RUN),
        method="POST",
        scope="write",
        problems=(HTTPStatus.CONFLICT,),
        for_some=True,
    ),
)
