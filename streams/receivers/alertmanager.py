"""`alertmanager`: alerts of Prometheus' Alertmanager, by its API v2.

Sources: `api/v2/openapi.yaml` and `docs/alerts_api.md` in
https://github.com/prometheus/alertmanager; the names that a label may have everywhere, also in
Alertmanager's classic mode, are those of Prometheus' data model
(https://prometheus.io/docs/concepts/data_model/).
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import msgspec
from pydantic import model_validator

from streams.domain import transitions
from streams.domain.deliveries import Delivery
from streams.domain.rendering import named_slice
from streams.domain.transitions import AlertData, SliceExcess, Transition, rfc3339
from streams.receivers.outcomes import Answer, Outcome, of_api_answer
from streams.receivers.receiver import Request, ResentReceiver
from streams.receivers.texts import TextReceiver, Texts
from streams.settings import PositiveDuration, ProblemsError, Token, format_duration

ENDED = frozenset({"campaign.alert.resolved", "campaign.alert.expired"})

LONGEST_TITLE = 1_000
LONGEST_TEXT = 10_000
"""Characters of an annotation from a template; Alertmanager has no limit."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]", re.ASCII)


class PostableAlert(msgspec.Struct, rename="camel", omit_defaults=True):
    """An alert as Alertmanager takes it: the same `labels` are the same alert."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")


_encode = msgspec.json.Encoder().encode


class AlertmanagerReceiver(TextReceiver, ResentReceiver):
    """Gets each transition as the alert that it is of, firing or ended.

    Alertmanager takes an alert to have ended at its `endsAt`, and keeps none of them over a
    restart of its own. So what fires is sent again all the time, as Prometheus does it.

    An alert of Alertmanager is what a rule watches for in one scope: the labels are the rule
    (`alertname`), its severity and labels, and the ids of the scope, so it is the same one when it
    comes back. `alert_id` differs then, and is an annotation. So are the title, as `summary`, and
    the text, as `description`.

    Attributes:
        token: sent as `Authorization: Bearer …`; null for none.
        resend_interval: how often (s) what fires is sent again.
        fires_for: how long (s) after that Alertmanager takes an alert to be firing if it hears
            nothing else: then no worker runs, or none reaches it. An end is sent at once.
    """

    example: ClassVar[str] = """\
- name: alertmanager
  kind: alertmanager                   # Prometheus' Alertmanager, API v2
  url: https://alertmanager.example.com/api/v2/alerts
  token_file: /run/secrets/am          # or token: …; sent as a bearer token; null for none
  resend_interval: 1m                  # what fires is sent again so often
  fires_for: 15m                       # from then on, if Alertmanager hears nothing else
  timeout: 10s
  matchers: []                         # [severity="critical"]: only alerts that all of them match
  title: null                          # a template in place of the built-in one: docs/operations.md
  text: null                           # the same for the text
"""

    longest_title: ClassVar[int] = LONGEST_TITLE
    longest_text: ClassVar[int] = LONGEST_TEXT

    kind: Literal["alertmanager"] = "alertmanager"
    token: Token | None = None
    fires_for: PositiveDuration = 900.0

    @model_validator(mode="after")
    def _resent_in_time(self) -> Self:
        least = 2 * self.resend_interval + self.timeout
        if self.fires_for < least:
            expected = f"expected twice resend_interval and timeout, {format_duration(least)}"
            raise ProblemsError([(("fires_for",), f"{expected}, or more")])
        return self

    def built_in(self, transition: Transition) -> Texts:
        """Return what is the matter in a few words, as the labels say the rest, and the summary."""
        return Texts(_headline(transition), transition.data.summary)

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of one alert. While it fires, `endsAt` counts from this attempt."""
        transition = transitions.decode(delivery.transition)
        return self._post([transition], now)

    def render_firing(self, firing: Sequence[Transition], now: float) -> Request:
        """Return a POST of alerts that go on firing; `endsAt` counts from `now` (s, UTC)."""
        return self._post(firing, now)

    def _post(self, told: Sequence[Transition], now: float) -> Request:
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        texts = [self.texts(each) for each in told]
        body = _encode([self._alert(each, its, now) for each, its in zip(told, texts, strict=True)])
        failures = tuple(failure for each in texts for failure in each.failures)
        return Request("POST", self.url, headers, body, failures)

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means: 400 says that the alert is wrong."""
        return of_api_answer(answer, now)

    def _alert(self, transition: Transition, texts: Texts, now: float) -> PostableAlert:
        data = transition.data
        links = data.links
        if transition.type in ENDED:
            ends_at = data.ends_at or transition.timestamp
        else:
            ends_at = rfc3339(now + self.fires_for)
        return PostableAlert(
            labels=_labels(data),
            annotations=_annotations(data, texts),
            starts_at=data.starts_at,
            ends_at=ends_at,
            generator_url=(links.alert_page or links.alert) if links is not None else None,
        )


def _labels(data: AlertData) -> dict[str, str]:
    """Return the labels. An empty value is the same as none, and left out."""
    own = {
        "alertname": data.rule,
        "severity": data.severity,
        "campaign_id": data.campaign_id,
        "app_id": data.app_id,
        "treatment_id": data.treatment_id,
        "channel_type": data.channel_type,
    }
    labels = {_label_name(name): value for name, value in data.labels.items()} | own
    return {name: value for name, value in labels.items() if value}


def _label_name(name: str) -> str:
    """Return a name that Alertmanager takes in every mode."""
    valid = _NOT_IN_NAMES.sub("_", name)
    return f"_{valid}" if valid[0].isdigit() else valid


def _headline(transition: Transition) -> str:
    data, seen = transition.data, transition.data.evidence
    parts = (("treatment", data.treatment_id), ("channel", data.channel_type))
    where = "".join(f", {name} {value}" for name, value in parts if value is not None)
    text = f"{data.rule} in campaign {data.campaign_name or data.campaign_id}{where}"
    if seen.attempts:
        figures = f"{seen.hits:,} of {seen.attempts:,} attempts ({seen.rate:.1%})"
    else:
        figures = f"no attempts since {data.window.start}"
    if transition.type not in ENDED:
        return f"{text}: {figures}"
    return f"{text} is over: {figures}, peak {data.peak.rate:.1%}"


def _annotations(data: AlertData, texts: Texts) -> dict[str, str]:
    """Return the annotations: texts, and figures as people write them."""
    seen, explanation = data.evidence, data.explanation
    found = {
        "summary": texts.title,
        "description": texts.text,
        "alert_id": data.alert_id,
        "window": f"{data.window.start}/{data.window.end}",
        "attempts": str(seen.attempts),
        "hits": str(seen.hits),
        "rate": f"{seen.rate:.1%}",
        "peak_rate": f"{data.peak.rate:.1%}",
    }
    if data.campaign_name:
        found["campaign_name"] = data.campaign_name
    if data.app_name:
        found["app_name"] = data.app_name
    if explanation is not None and explanation.usual is not None:
        found["usual_rate"] = f"{explanation.usual_rate:.1%}"
    if explanation is not None and explanation.slice is not None:
        found["excess"] = _excess(explanation.slice)
    if data.links is not None:
        found["alert_url"] = data.links.alert
        found["windows_url"] = data.links.windows
    return found


def _excess(part: SliceExcess) -> str:
    """Say which slice explains the excess, and in how far."""
    return (
        f"{part.share:.0%} in {named_slice(part)}: "
        f"{part.hits:,} of {part.attempts:,} attempts ({part.rate:.1%})"
    )
