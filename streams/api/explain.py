"""Why rules fire in a campaign, or why not: now, or at a moment of the past."""

import asyncio
import difflib
import math
from collections.abc import Iterator, Sequence
from math import isinf

from msgspec import UNSET

from streams.api.alerts import RULE
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.costs import OF_A_RULE
from streams.api.explained_answers import Basis, Episode, Explained, Requirement, Standing
from streams.api.parameters import moment
from streams.api.problems import refuse
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.api.time_slices import TimeSlices
from streams.api.windows import CAMPAIGN_ID, sees, unknown_campaign
from streams.domain.alert_records import Alert
from streams.domain.partition import CampaignPartition
from streams.domain.retelling import MOST_WINDOWS, Retelling
from streams.domain.rules import Rule
from streams.domain.standings import ScopeStanding, standings
from streams.domain.transitions import rfc3339

AT = moment(
    "at",
    "The moment: a time (RFC 3339) or milliseconds since the epoch. Without it, now. One in the "
    "past is told again from retained windows.",
)


async def explain(context: Context, ask: Ask) -> Explained:
    """Answer why rules fire in a campaign at a moment, or why not."""
    campaign_id = ask.path["campaign_id"]
    wanted = rules_of(context, ask)

    async def local(partitions: Sequence[CampaignPartition]) -> Explained | None:
        known = [each for each in partitions if each.table.knows(campaign_id)]
        if not known or not sees(ask, partitions, campaign_id):
            return None
        _charge(ask, known, wanted)
        answers = [await _explain(context, ask, each, wanted) for each in known]
        return _merged(answers)

    homes = context.cluster.homes_of(campaign_id)
    unknown = unknown_campaign(campaign_id)
    gathered = await context.cluster.require(ask, homes, Explained, local, unknown)
    answer = _merged(gathered.parts)
    answer.campaign_name = context.names.of_campaign(campaign_id)
    return context.stamp(answer, gathered.missing)


def rules_of(context: Context, ask: Ask) -> list[Rule]:
    """Return the rules that are asked for and that the caller may see.

    Raises:
        ProblemError: 400, if there is no such rule.
    """
    name = ask.get(RULE, None)
    patterns_of = ask.caller.visible.patterns_of
    rules = [rule for rule in context.settings.rules if all(patterns_of(rule))]
    if name is None:
        return rules
    found = [rule for rule in rules if rule.name == name]
    if not found:
        names = [rule.name for rule in rules]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names) or 'none'}"
        refuse(f"rule={name[:200]}: there is no such rule: {hint}")
    return found


def _charge(ask: Ask, partitions: Sequence[CampaignPartition], rules: Sequence[Rule]) -> None:
    """Take the cost: of a rule now, or of a rule in each window that it is told again from."""
    campaign_id, cost = ask.path["campaign_id"], 0
    for partition in partitions:
        if ask.get(AT, math.inf) >= partition.table.newest_event_time:
            cost += OF_A_RULE * len(rules)
        else:
            windows = partition.table.windows_with(campaign_id) or MOST_WINDOWS
            cost += OF_A_RULE * len(rules) * min(windows, MOST_WINDOWS)
    ask.budget.spend(cost, lambda: "name one rule")


def _merged(parts: list[Explained]) -> Explained:
    newest = max(parts, key=lambda part: part.at)
    newest.standings = [each for part in parts for each in part.standings]
    newest.episodes = [each for part in parts for each in part.episodes]
    return newest


async def _explain(
    context: Context, ask: Ask, partition: CampaignPartition, rules: list[Rule]
) -> Explained:
    campaign_id, at = ask.path["campaign_id"], ask.get(AT, None)
    newest = partition.table.newest_event_time
    if at is None or at >= newest:
        return await _explain_now(context, partition, rules, campaign_id)
    oldest = partition.table.oldest_start
    if oldest is None or at < oldest * 1000:
        since = rfc3339(oldest if oldest is not None else newest / 1000)
        refuse(f"at={rfc3339(at / 1000)}: retained windows begin at {since}")
    episodes = list(_episodes(partition, rules, campaign_id, at / 1000))
    slices = TimeSlices()
    shown, windows = [], 0
    for rule in rules:
        retelling = await _retell(partition, rule, campaign_id, at, slices)
        windows = max(windows, retelling.windows)
        for each in standings(retelling.partition, (rule,), campaign_id, at / 1000):
            known = next((e for e in episodes if _is_about(e, each)), None)
            told = _show(each)
            told.alert_id = known.alert_id if known is not None else None
            told.silenced_until = UNSET
            shown.append(told)
            await asyncio.sleep(0)
    grain = retelling.grain / 1000 if rules else None
    return Explained(
        as_of="",
        campaign_id=campaign_id,
        at=rfc3339(at / 1000),
        basis=Basis("windows", windows, grain),
        standings=shown,
        episodes=episodes,
    )


async def _explain_now(
    context: Context, partition: CampaignPartition, rules: list[Rule], campaign_id: str
) -> Explained:
    shown = []
    for rule in rules:
        for each in standings(partition, (rule,), campaign_id, context.now()):
            shown.append(_show(each))
            await asyncio.sleep(0)
    newest = partition.table.newest_event_time / 1000
    # Alerts begin by the clock, which is ahead of event time.
    under_way = list(_episodes(partition, rules, campaign_id, max(newest, context.now())))
    return Explained(
        as_of="",
        campaign_id=campaign_id,
        at=rfc3339(newest),
        basis=Basis("state", None, None),
        standings=shown,
        episodes=under_way,
    )


async def _retell(
    partition: CampaignPartition,
    rule: Rule,
    campaign_id: str,
    at: int,
    slices: TimeSlices,
) -> Retelling:
    """Tell again what a rule made of a campaign up to a moment (ms)."""
    table = partition.table
    cells = []
    for start in [each for each in table.starts() if each * 1000 <= at][-MOST_WINDOWS:]:
        cells.append((start, table.cell(campaign_id, start)))
        await slices()
    retelling = Retelling(
        partition.settings,
        rule,
        campaign_id,
        cells,
        at=at,
        known_until=table.newest_event_time,
    )
    for _ in retelling.steps():
        await slices()
    return retelling


def _episodes(
    partition: CampaignPartition, rules: list[Rule], campaign_id: str, at: float
) -> Iterator[Episode]:
    """Yield the kept episodes of alerts of the rules that were under way at a time (s)."""
    names = {rule.name for rule in rules}
    for alert in partition.alerts.alerts():
        if alert.scope.campaign_id != campaign_id or alert.rule not in names:
            continue
        for begin, end in spans_of(alert):
            if begin <= at and (end is None or at <= end):
                yield Episode(
                    alert.alert_id,
                    alert.rule,
                    alert.scope.treatment_id,
                    alert.scope.channel_type,
                    rfc3339(begin),
                    None if end is None else rfc3339(end),
                )


def spans_of(alert: Alert) -> Iterator[tuple[float, float | None]]:
    """Yield when the kept episodes of an alert began to fire and ended (s), the oldest first."""
    for each in alert.past:
        yield each.starts_at, each.ends_at
    if alert.starts_at is not None:
        yield alert.starts_at, alert.ends_at


def _is_about(episode: Episode, standing: ScopeStanding) -> bool:
    scope = standing.scope
    about = (episode.rule, episode.treatment_id, episode.channel_type)
    return about == (standing.rule.name, scope.treatment_id, scope.channel_type)


def _show(each: ScopeStanding) -> Standing:
    account, silenced = each.account, each.silenced
    attempts, hits = (account.attempts, account.hits) if account is not None else (0, 0)
    since = account.since if account is not None else None
    return Standing(
        rule=each.rule.name,
        detector=each.rule.detector.kind,
        treatment_id=each.scope.treatment_id,
        channel_type=each.scope.channel_type,
        standing=each.standing,
        why=each.why,
        attempts=attempts,
        hits=hits,
        rate=round(hits / attempts, 6) if attempts else None,
        since=None if since is None else rfc3339(since / 1000),
        usual_rate=account.usual_rate if account is not None else None,
        hits_missing=account.hits_missing if account is not None else None,
        any_is_enough=account.any_is_enough if account is not None else False,
        requirements=[Requirement(*r) for r in (account.requirements if account else ())],
        figures=dict(account.figures) if account is not None else {},
        notes=list(account.notes) if account is not None else [],
        alert_id=each.alert.alert_id if each.alert is not None else None,
        silenced_until=UNSET
        if silenced is None
        else None
        if isinf(silenced.until)
        else rfc3339(silenced.until),
    )


ROUTES = (
    Route(
        "/v1/campaigns/{campaign_id}/explain",
        explain,
        "Why rules fire in a campaign, or why not, in figures: now or at a moment of the past",
        Explained,
        (CAMPAIGN_ID, RULE, AT),
        rows=Rows("standings", Standing),
        for_some=True,
        has_cost=True,
    ),
)
