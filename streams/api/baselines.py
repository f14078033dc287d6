"""What a rule compares a campaign's windows with: the usual rate, and the rates that matter."""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf

from streams.api.alerts import CHANNEL, RULE, TREATMENT
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import OF_A_LEVEL, count_windows
from streams.api.explain import rules_of, spans_of
from streams.api.explained_answers import Baseline, BaselinePoint
from streams.api.parameters import whole
from streams.api.problems import refuse
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.api.time_slices import TimeSlices
from streams.api.windows import CAMPAIGN_ID, FROM, MOST_WINDOWS, TO, sees, unknown_campaign
from streams.domain.detectors.accounts import Level, WindowSeen
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule, Scope
from streams.domain.transitions import rfc3339

_LONGEST_STEP = 366 * 86_400

STEP = whole(
    "step",
    1,
    _LONGEST_STEP,
    "Seconds, a multiple of the window size: one point for the windows of so long, aligned to the "
    "epoch. Without it, the window size.",
)


async def baseline(context: Context, ask: Ask) -> Baseline:
    """Answer with what a rule compares a campaign's windows with."""
    campaign_id = ask.path["campaign_id"]
    rule, size = _rule_of(context, ask), context.settings.windows.size
    step = ask.get(STEP, size)
    if step % size:
        refuse(f"step={step}: expected a multiple of the window size, which is {size} s")
    begin, last = ask.get(FROM, None), ask.get(TO, None)
    if begin is not None and last is not None and begin >= last:
        refuse("from: expected a time before to")
    first = -inf if begin is None else begin
    scope = Scope(campaign_id, ask.get(TREATMENT, None), ask.get(CHANNEL, None))

    async def local(partitions: Sequence[CampaignPartition]) -> Baseline | None:
        known = [each for each in partitions if each.table.knows(campaign_id)]
        if not known or not sees(ask, partitions, campaign_id):
            return None
        until = inf if last is None else last / 1000
        cost = OF_A_LEVEL * count_windows([known[0].table], campaign_id, 0, until)
        ask.budget.spend(cost, lambda: f"each window before to costs {OF_A_LEVEL}, ask for fewer")
        # A campaign in several partitions is one that each of them has learned by itself.
        levels = await _levels(known[0], rule, scope, last)
        wanted = (each for each in levels if (each.start + size) * 1000 > first)
        return Baseline(
            as_of="",
            campaign_id=campaign_id,
            rule=rule.name,
            treatment_id=scope.treatment_id,
            channel_type=scope.channel_type,
            window_seconds=size,
            points=_points(wanted, step),
        )

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Baseline, local, unknown)
    answer = gathered.parts[0]
    answer.campaign_name = context.names.of_campaign(campaign_id)
    return context.stamp(answer, gathered.missing)


def _rule_of(context: Context, ask: Ask) -> Rule:
    """Return the rule that is asked for; or the first that is about the whole campaign.

    Raises:
        ProblemError: 400, if there is none.
    """
    rules = rules_of(context, ask)
    if ask.get(RULE, None) is None:
        campaign_id = ask.path["campaign_id"]
        rules = [r for r in rules if r.scope == "campaign" and r.matches_campaign(campaign_id)]
        if not rules:
            refuse("rule: no rule is about the whole campaign, so give the name of one")
    rule = rules[0]
    if rule.scope != "treatment" and ask.get(TREATMENT, None) is not None:
        refuse(f"treatment_id: rule {rule.name} is not about treatments")
    if rule.scope != "channel" and ask.get(CHANNEL, None) is not None:
        refuse(f"channel_type: rule {rule.name} is not about channels")
    return rule


async def _levels(
    partition: CampaignPartition, rule: Rule, scope: Scope, last: int | None
) -> list[Level]:
    """Return what a rule compares windows of a scope with that begin before `last` (ms)."""
    table, groups = partition.table, partition.settings.groups
    slices, seen = TimeSlices(), []
    spans = [
        (int(begin), end)
        for alert in partition.alerts.alerts()
        if alert.rule == rule.name and alert.scope == scope
        for begin, end in spans_of(alert)
    ]
    size = partition.settings.windows.size
    starts = [start for start in table.starts() if last is None or start * 1000 < last]
    for start in starts[-MOST_WINDOWS:]:
        cell = table.cell(scope.campaign_id, start)
        await slices()
        counted = rule.observe(scope.campaign_id, cell, groups).get(scope) if cell else None
        if counted is not None:
            fired = any(
                begin < start + size and (end is None or start <= end) for begin, end in spans
            )
            seen.append(WindowSeen(start, counted.attempts, counted.hits, fired))
    now = None
    for each, account in partition.accounts(rule, scope.campaign_id):
        if each == scope:
            now = account
            break
        await asyncio.sleep(0)
    levels = []
    for level in rule.detector.levels(seen, size, now):
        levels.append(level)
        await slices()
    return levels


def _points(levels: Iterable[Level], step: int) -> list[BaselinePoint]:
    """Return a point for each step (s): of the first of its windows, and the lowest to fire."""
    points: dict[int, BaselinePoint] = {}
    for level in levels:
        begin = level.start - level.start % step
        point = points.get(begin)
        if point is None:
            points[begin] = BaselinePoint(rfc3339(begin), *level[1:])
        else:
            rates = [r for r in (point.firing_rate, level.firing_rate) if r is not None]
            point.firing_rate = min(rates, default=None)
    for point in points.values():
        point.usual_attempts = round(point.usual_attempts, 3)
        if point.firing_rate is not None:
            point.firing_rate = round(point.firing_rate, 6)
    return list(points.values())


ROUTES = (
    Route(
        "/v1/campaigns/{campaign_id}/baseline",
        baseline,
        "What a rule compares a campaign's windows with: the usual rate, and those that would fire",
        Baseline,
        (CAMPAIGN_ID, RULE, TREATMENT, CHANNEL, FROM, TO, STEP),
        rows=Rows("points", BaselinePoint),
        for_some=True,
        has_cost=True,
    ),
)
