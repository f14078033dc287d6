"""What the API answers where it explains: how rules stand, and what they compare windows with."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from streams.api.answer import Answer
from streams.domain.standings import Standing as StandingWord


class Requirement(Struct):
    """One of the things that have to hold for a breach: what it stands at, and what it takes.

    `text` has it in words. `value` is null if there is nothing to go by.
    """

    name: str
    text: str
    value: float | None
    needed: float
    is_met: bool


class Standing(Struct, kw_only=True):
    """How a rule stands in the campaign, or in a treatment or channel of it.

    - `attempts` and `hits` are those that are judged, from `since` on.
    - `requirements` all have to be met for a breach, or only one of them if `any_is_enough`.
    - `hits_missing` is how many more sends would be a breach if all of them were hits, at the
      present pace: 0 while there is one; null if it is not known, or if no number of them is.
    - `figures` are what the requirements follow from; docs/detectors.md says what they are.
    - `alert_id` is that of the live alert; `silenced_until` is there if alerts of the rule are
      silenced here, and is null if that does not end.
    """

    rule: str
    detector: str
    treatment_id: str | None
    channel_type: str | None
    standing: StandingWord
    why: str
    attempts: int
    hits: int
    rate: float | None
    since: str | None
    usual_rate: float | None
    hits_missing: int | None
    any_is_enough: bool
    requirements: list[Requirement]
    figures: dict[str, float]
    notes: list[str]
    alert_id: str | None
    silenced_until: str | UnsetType | None = UNSET


class Basis(Struct):
    """What an explanation is worked out from.

    `state` is what the rules go by. `windows` is for a moment of the past: rules are evaluated
    again on so many retained `windows` up to it, whose counts are taken to be spread evenly: in
    steps of `grain_seconds` shortly before the moment.
    """

    kind: Literal["state", "windows"]
    windows: int | None
    grain_seconds: float | None


class Episode(Struct):
    """An episode of an alert that was under way at the moment, as it is kept."""

    alert_id: str
    rule: str
    treatment_id: str | None
    channel_type: str | None
    starts_at: str
    ends_at: str | None


class Explained(Answer, kw_only=True):
    """Why rules fire in a campaign at a moment, `at`, or why not."""

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    at: str
    basis: Basis
    standings: list[Standing]
    episodes: list[Episode]


class BaselinePoint(Struct):
    """What a rule compares a window with, or the windows of a step.

    - `usual_rate` is what was learned before it, from `usual_attempts` independent attempts.
    - `limit_rate`: only a share above it is worth an alert.
    - `firing_rate`: a share above it in this window alone is a breach, if it is spread over all of
      it. Of several windows, that of the one with the lowest. Null if no share of its attempts is.
    """

    start: str
    usual_rate: float | None
    usual_attempts: float
    limit_rate: float | None
    firing_rate: float | None


class Baseline(Answer, kw_only=True):
    """What a rule compares a campaign's windows with, oldest first, by retained windows."""

    campaign_id: str
    campaign_name: str | UnsetType = UNSET
    rule: str
    treatment_id: str | None
    channel_type: str | None
    window_seconds: int
    points: list[BaselinePoint]
