"""The receivers of alerts: which of them are active, failing, paused or disabled."""

from collections.abc import Iterable, Sequence

from streams.api import answers
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import read_moment, text
from streams.api.problems import not_found
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import ReceiverRecord, lifted, standing
from streams.domain.transitions import rfc3339

NAME = text("name", "The receiver's name.")


def show(name: str, record: ReceiverRecord | None, now: float) -> answers.Receiver:
    """Return a receiver as the API shows it, at `now` (s)."""
    if record is None:
        return answers.Receiver(
            name=name, state="enabled", since=None, until=None, reason=None, failing_since=None
        )
    over = record.until is not None and record.until <= now
    state: answers.ReceiverState = "enabled" if over else record.status
    since = record.until if over and record.until else record.since
    if state == "enabled" and record.failing_since:
        state, since = "failing", record.failing_since
    return answers.Receiver(
        name=name,
        state=state,
        since=rfc3339(since),
        until=rfc3339(record.until) if record.until and not over else None,
        reason=None if state == "enabled" else record.reason,
        failing_since=rfc3339(record.failing_since) if record.failing_since else None,
    )


def _known(
    context: Context, names: Iterable[str], partitions: Sequence[CampaignPartition]
) -> list[answers.Receiver]:
    books = [partition.receivers for partition in partitions]
    return [show(name, standing(name, books), context.now()) for name in names]


def _gravest(told: Iterable[answers.Receiver]) -> answers.Receiver:
    """Return the worst of what several workers say of one receiver: each goes by its own."""
    ranks = {"enabled": 0, "failing": 1, "paused": 2, "disabled": 3}
    return max(
        told, key=lambda each: (ranks[each.state], read_moment(each.since) if each.since else 0)
    )


async def receivers(context: Context, ask: Ask) -> answers.Receivers:
    """Answer with all receivers of the configuration."""
    names = context.settings.receivers

    async def local(partitions: Sequence[CampaignPartition]) -> answers.Receivers:
        return answers.Receivers(as_of="", receivers=_known(context, names, partitions))

    everywhere = context.cluster.everywhere()
    gathered = await context.cluster.gather(ask, everywhere, answers.Receivers, local)
    told = [each for part in gathered.parts for each in part.receivers]
    merged = [
        _gravest([show(name, None, context.now()), *(each for each in told if each.name == name)])
        for name in names
    ]
    return context.stamp(answers.Receivers(as_of="", receivers=merged), gathered.missing)


async def enable(context: Context, ask: Ask) -> answers.OneReceiver:
    """Have a receiver sent to again, whatever it answered before."""
    name = ask.path["name"]
    nobody = not_found(f"there is no receiver {name} in the configuration: see /v1/receivers")
    if name not in context.settings.receivers:
        raise nobody

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneReceiver:
        for partition in partitions:
            record = partition.receivers.get(name)
            if record is not None:
                record = lifted(record, record.target, context.now())
                partition.receivers.note(name, record)
        (shown,) = _known(context, [name], partitions)
        return answers.OneReceiver(as_of="", receiver=shown)

    everywhere = context.cluster.everywhere()
    gathered = await context.cluster.require(ask, everywhere, answers.OneReceiver, local, nobody)
    merged = _gravest(part.receiver for part in gathered.parts)
    return context.stamp(answers.OneReceiver(as_of="", receiver=merged), gathered.missing)


ROUTES = (
    Route(
        "/v1/receivers",
        receivers,
        "The receivers of alerts, and which of them fail, are paused or disabled",
        answers.Receivers,
        rows=Rows("receivers", answers.Receiver),
    ),
    Route(
        "/v1/receivers/{name}/enable",
        enable,
        "Send to a receiver again that fails, asked for a pause, or is disabled",
        answers.OneReceiver,
        (NAME,),
        method="POST",
        scope="write",
    ),
)
