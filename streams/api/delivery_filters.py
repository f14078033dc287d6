"""Which deliveries are asked for: by state, receiver, alert, campaign, rule and time."""

from typing import Any

import msgspec

from streams.api.alerts import CAMPAIGN
from streams.api.asking import Ask
from streams.api.parameters import Parameter, choice, moment, text
from streams.domain.deliveries import Delivery
from streams.domain.transitions import in_ms

STATE = choice("state", ("pending", "given-up", "delivered"), "Only deliveries in this state.")
RECEIVER = text("receiver", "Only deliveries to this receiver.")
ALERT = text("alert_id", "Only what is about this alert.")
RULE = text("rule", "Only what is about alerts of this rule.")
FROM = moment("from", "Only what was decided at this time or later; without it, all that is kept.")
TO = moment("to", "Only what was decided before this time; without it, up to now.")

FILTERS: tuple[Parameter[Any], ...] = (ALERT, CAMPAIGN, RULE, FROM, TO)
"""Those that a list and a replay of several have in common."""


class _AboutData(msgspec.Struct):
    rule: str | None = None
    app_id: str | None = None


class About(msgspec.Struct):
    """What a delivery is about, as its transition says.

    Attributes:
        type: of the transition.
        data: has the rule; null for what is about no rule.
    """

    type: str | None = None
    data: _AboutData | None = None

    @property
    def rule(self) -> str | None:
        """The name of the alert's rule."""
        return None if self.data is None else self.data.rule

    @property
    def app_id(self) -> str | None:
        """The app of the alert's campaign."""
        return None if self.data is None else self.data.app_id


_decode = msgspec.json.Decoder(About).decode


def about(delivery: Delivery) -> About:
    """Return what a delivery is about; nothing if its transition does not say."""
    try:
        return _decode(delivery.transition)
    except msgspec.MsgspecError:
        return About()


def sees(delivery: Delivery, ask: Ask) -> bool:
    """Tell whether the caller may see a delivery; one about several campaigns few may."""
    app_id = about(delivery).app_id if ask.caller.visible.needs_app else None
    return ask.sees(delivery.campaign_id, app_id)


def passes(delivery: Delivery, ask: Ask) -> bool:
    """Tell whether the caller may see a delivery, and it passes the `FILTERS` of a request."""
    decided_at = in_ms(delivery.created_at)
    return (
        sees(delivery, ask)
        and ask.allows(ALERT, delivery.alert_id)
        and ask.allows(CAMPAIGN, delivery.campaign_id)
        and ask.get(FROM, decided_at) <= decided_at
        and ask.get(TO, decided_at + 1) > decided_at
        and (RULE.name not in ask.query or ask.allows(RULE, about(delivery).rule))
    )
