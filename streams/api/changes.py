"""What has changed since a position: what the live stream is made of, and programs can ask for."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

import msgspec
from msgspec.structs import asdict

from streams.api import answers, count_answers
from streams.api.alerts import show as show_alert
from streams.api.asking import Ask
from streams.api.campaign_ids import CAMPAIGN_IDS
from streams.api.context import Context
from streams.api.deliveries import show as show_delivery
from streams.api.parameters import opaque
from streams.api.problems import refuse
from streams.api.reading import window
from streams.api.routing import Route
from streams.api.time_slices import TimeSlices
from streams.domain.change_log import Changed, Positions
from streams.domain.counts import OTHER, Cell
from streams.domain.partition import CampaignPartition

MOST_WINDOWS = 2_000
"""About so many windows of a partition at a time: the others come with the next changes."""

_decode_positions = msgspec.json.Decoder(Positions).decode


SINCE = opaque("since", "From `next` of the answer before; without it, nothing has changed yet.")


def encode_positions(positions: Positions) -> str:
    """Return positions as opaque text."""
    return urlsafe_b64encode(msgspec.json.encode(positions)).decode().rstrip("=")


def decode_positions(text: str) -> Positions:
    """Read positions that this API gave.

    Raises:
        ProblemError: 400, if they are none.
    """
    try:
        return _decode_positions(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.MsgspecError):
        refuse("since: not one that this API gave: leave it out to begin anew")


async def changes(context: Context, ask: Ask) -> answers.Changes:
    """Answer with what has changed since a position."""
    since = ask.get(SINCE, None)
    positions = {} if since is None else decode_positions(since)
    answer = await read_changes(
        context, positions, context.cluster.everywhere(), ask.get(CAMPAIGN_IDS, None), ask
    )
    if not ask.caller.visible.is_whole:
        answer.windows = [w for w in answer.windows if ask.sees(w.campaign_id, w.app_id)]
        answer.alerts = [a for a in answer.alerts if ask.sees(a.campaign_id, a.app_id)]
        answer.deliveries = [d for d in answer.deliveries if ask.sees(d.campaign_id, d.app_id)]
    return answer


async def read_changes(
    context: Context,
    since: Positions,
    wanted: Iterable[int],
    campaign_ids: Sequence[str] | None,
    ask: Ask | None = None,
) -> answers.Changes:
    """Return what has changed in some partitions since a position, and the next position.

    Args:
        context: knows the partitions.
        since: a partition that it lacks has no changes yet.
        wanted: the partitions.
        campaign_ids: windows of these campaigns alone; null for all.
        ask: the request, if there is one.
    """

    async def local(partitions: Sequence[CampaignPartition]) -> answers.Changes:
        answer = _nothing()
        positions: Positions = {}
        for partition in partitions:
            log = context.change_logs.of(partition, context.now())
            changed = log.since(since.get(partition.number), campaign_ids, MOST_WINDOWS)
            answer.more |= changed.has_more
            await _show(context, partition, changed, answer)
            positions[partition.number] = changed.position
        answer.next = encode_positions(positions)
        return answer

    ask = ask or _ask(since, campaign_ids)
    gathered = await context.cluster.gather(ask, wanted, answers.Changes, local)
    whole = _nothing()
    positions = dict(since)
    for part in gathered.parts:
        whole.windows += part.windows
        whole.alerts += part.alerts
        whole.deliveries += part.deliveries
        whole.incomplete_partitions += part.incomplete_partitions
        whole.more |= part.more
        positions |= decode_positions(part.next)
    whole.incomplete_partitions.sort()
    whole.next = encode_positions(positions)
    return context.stamp(whole, gathered.missing)


def _nothing() -> answers.Changes:
    return answers.Changes(
        as_of="",
        windows=[],
        alerts=[],
        deliveries=[],
        incomplete_partitions=[],
        more=False,
        next="",
    )


def _ask(since: Positions, campaign_ids: Sequence[str] | None) -> Ask:
    """Return the request for changes, for other workers."""
    query = {SINCE.name: encode_positions(since)}
    if campaign_ids is not None:
        query[CAMPAIGN_IDS.name] = msgspec.json.encode(campaign_ids).decode()
    return Ask("GET", f"{PATH}?{urlencode(query)}", {}, {}, {})


async def _show(
    context: Context, partition: CampaignPartition, changed: Changed, answer: answers.Changes
) -> None:
    """Add what has changed in a partition, as it is now, to an answer."""
    if not changed.is_complete:
        answer.incomplete_partitions.append(partition.number)
    slices = TimeSlices()
    for each in changed.cells:
        cell = partition.table.cell(each.campaign_id, each.start)
        # It may have expired, or be counted among others, which are of all partitions together.
        if cell is not None and each.campaign_id != OTHER:
            answer.windows.append(_window(context, partition, each.campaign_id, each.start, cell))
        await slices()
    for alert_id in changed.alert_ids:
        alert = partition.alerts.get(alert_id)
        if alert is not None:
            group_id = partition.groups.group_of(alert_id)
            answer.alerts.append(show_alert(partition.alerts, alert, group_id))
        await slices()
    for delivery_id in changed.delivery_ids:
        delivery = partition.deliveries.get(delivery_id)
        if delivery is not None:
            answer.deliveries.append(show_delivery(delivery, partition.receivers))
        await slices()
    await asyncio.sleep(0)


def _window(
    context: Context, partition: CampaignPartition, campaign_id: str, start: int, cell: Cell
) -> count_answers.CampaignWindow:
    size = context.settings.windows.size
    is_open = partition.table.is_open(start)
    shown = window((start, start + size), cell, (), context.settings.groups, is_open=is_open)
    return count_answers.CampaignWindow(
        **asdict(shown), campaign_id=campaign_id, app_id=cell.app_id
    )


PATH = "/v1/changes"
ROUTES = (
    Route(
        PATH,
        changes,
        "Windows, alerts and deliveries that have changed since the answer before",
        answers.Changes,
        (SINCE, CAMPAIGN_IDS),
        is_tagged=False,
        for_some=True,
    ),
)
