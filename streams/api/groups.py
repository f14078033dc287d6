"""Groups of alerts that receivers are told of together. Every worker knows all of them."""

from itertools import starmap
from urllib.parse import quote

from streams.api import answers
from streams.api.alerts import RULE
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.newest import CURSOR, DEFAULT_LIMIT, LIMIT
from streams.api.paging import Pager, Position, read_cursor
from streams.api.parameters import choice, text
from streams.api.problems import being_read, not_found
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain.causes.exchange import GroupState
from streams.domain.group_transitions import named, named_labels
from streams.domain.pages import group_page
from streams.domain.transitions import in_ms, rfc3339

STATE = choice("state", ("firing", "ended"), "Only groups in this state.")
REASON = choice("reason", ("cause", "labels", "rate-limit"), "Only groups for this reason.")
GROUP_ID = text("group_id", "The group's id.")

_ORDER = "groups"


def show(state: GroupState, base_url: str | None) -> answers.AlertGroup:
    """Return a group as the API shows it."""
    base = base_url or ""
    url = f"{base}/v1/alerts?group_id={quote(state.group_id, safe='')}"
    dimensions = state.dimensions
    return answers.AlertGroup(
        group_id=state.group_id,
        state=_state_of(state),
        reason=state.reason,
        title=_title_of(state),
        rule=state.rule,
        severity=state.severity,
        labels=state.labels,
        cause=None if dimensions is None else answers.GroupCause(dimensions, state.status),
        starts_at=rfc3339(state.starts_at),
        ends_at=None if state.ended_at is None else rfc3339(state.ended_at),
        firing=state.firing,
        joined=state.joined,
        receivers=[
            answers.GroupReceiver(
                name, each.notifications, None if each.told_at is None else rfc3339(each.told_at)
            )
            for name, each in state.receivers.items()
        ],
        links=answers.GroupLinks(url, group_page(base, state.group_id)),
    )


def _state_of(state: GroupState) -> answers.GroupStateName:
    return "firing" if state.ended_at is None else "ended"


def _title_of(state: GroupState) -> str:
    if state.reason == "labels":
        return named_labels(state.labels)
    return "beyond the rate limit" if state.dimensions is None else named(state.dimensions)


async def groups(context: Context, ask: Ask) -> answers.AlertGroups:
    """Answer with groups, those that began last first."""
    _check_read(context)
    settings = context.settings
    pager = Pager(
        _ORDER,
        descending=True,
        position=_position,
        limit=ask.get(LIMIT, DEFAULT_LIMIT),
        cursor=read_cursor(ask.get(CURSOR, None), _ORDER),
    )
    every = [each for known in settings.group_view.groups.values() for each in known.values()]
    page, next_cursor = await pager.cut(every, lambda each: _is_wanted(each, ask))
    shown = [show(each, settings.base_url) for each in page]
    return context.stamp(answers.AlertGroups(as_of="", groups=shown, next_cursor=next_cursor), ())


def _check_read(context: Context) -> None:
    """Refuse to say of a group that there is none, as long as that is not known."""
    if not context.groups_are_read():
        raise being_read("groups")


def _is_wanted(state: GroupState, ask: Ask) -> bool:
    return (
        _sees(state, ask)
        and ask.allows(STATE, _state_of(state))
        and ask.allows(REASON, state.reason)
        and ask.allows(RULE, state.rule)
    )


def _sees(state: GroupState, ask: Ask) -> bool:
    """Tell whether the caller may see all campaigns that a group is about: else not the group."""
    if ask.caller.visible.is_whole:
        return True
    return bool(state.campaigns) and all(starmap(ask.sees, state.campaigns or ()))


def _position(state: GroupState) -> Position:
    return Position(in_ms(state.starts_at), state.group_id)


async def one_group(context: Context, ask: Ask) -> answers.OneAlertGroup:
    """Answer with one group."""
    _check_read(context)
    group_id = ask.path["group_id"]
    found = context.settings.group_view.group(group_id)
    if found is None or not _sees(found, ask):
        raise not_found(f"there is no group {group_id}, or it ended long ago: see /v1/groups")
    shown = show(found, context.settings.base_url)
    return context.stamp(answers.OneAlertGroup(as_of="", group=shown), ())


ROUTES = (
    Route(
        "/v1/groups",
        groups,
        "Groups of alerts that receivers are told of together, newest first",
        answers.AlertGroups,
        (STATE, REASON, RULE, LIMIT, CURSOR),
        rows=Rows("groups", answers.AlertGroup),
        for_some=True,
    ),
    Route(
        "/v1/groups/{group_id}",
        one_group,
        "One group of alerts",
        answers.OneAlertGroup,
        (GROUP_ID,),
        for_some=True,
    ),
)
