"""A template that loops, raises or reads files, in every kind that has templates.

It is refused at the start, or bounded when it is sent: then the plain text is sent, and it is told.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from streams.configuration.load import load
from streams.domain import transitions
from streams.domain.deliveries import Outbox
from streams.domain.transitions import Transition
from streams.errors import ConfigurationError
from streams.observability.metrics import Metrics
from streams.receivers.outcomes import Delivered
from streams.receivers.registry import KINDS
from streams.receivers.texts import TextReceiver
from streams.webhooks.attempt_records import record_of
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from tests.receivers.test_texts import MAKERS, shown
from tests.support.deliveries import delivery_of
from tests.support.receiver import Collector, status
from tests.support.smtp import MailServer
from tests.support.transitions import explained

SETTINGS = {
    "pagerduty": "kind: pagerduty, routing_key: R0000000000000000000000000000000",
    "slack": "kind: slack, webhook_path: T/B/x",
    "slack bot": "kind: slack, token: xoxb-1, channel: '#alerts'",
    "alertmanager": "kind: alertmanager, url: 'https://am.example/api/v2/alerts'",
    "email": "kind: email, server: 'mail.example:465', sender: a@example.com, to: [b@example.com]",
}
LOOP = "{% for a in evidence.counts %}" * 4 + "{% endfor %}" * 4
HARMFUL = {
    # loops, or takes memory
    LOOP: "it takes more than 50,000 steps",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}": "a loop cannot be recursive",
    "{{ range(1000000000) }}": "call is not possible in a template",
    "{{ 'x' * 1000000000 }}": "is for numbers",
    "{{ 9 ** 99999999 }}": "pow is not possible in a template",
    "{{ '%999999999d' % 1 }}": "mod is not possible in a template",
    "{{ '%999999999d'|format(1) }}": "there is no filter format",
    "{% set a = 1 %}": "assign is not possible in a template",
    "{% macro a() %}{{ a() }}{% endmacro %}": "macro is not possible in a template",
    # raises
    "{{ 1 / 0 }}": "ZeroDivisionError",
    "{{ rule|int|percent(rule) }}": "TypeError",
    "{{ nothing }}": "'nothing' is undefined",
    "{{ explanation.slice.share }}": "null for some alerts",
    "{{ labels }}": "a list or mapping cannot be shown",
    # reads files, or what is behind the names
    "{% include '/etc/passwd' %}": "include is not possible in a template",
    "{% import '/etc/passwd' as a %}": "import is not possible in a template",
    "{% extends '/etc/passwd' %}": "extends is not possible in a template",
    "{{ open('/etc/passwd').read() }}": "call is not possible in a template",
    "{{ rule.__class__ }}": "there is no '__class__'",
    "{{ rule['__class__'] }}": "there is no '__class__'",
    "{{ ''|attr('__class__') }}": "there is no filter attr",
    "{{ self }}": "self is not possible as a name",
    "{{ lipsum.__globals__ }}": "'lipsum' is undefined",
    "{{ cycler.__init__ }}": "'cycler' is undefined",
}
"""Templates, and why they are refused."""

each_kind = pytest.mark.parametrize("kind", MAKERS)


def test_these_are_all_kinds_that_have_templates() -> None:
    assert SETTINGS.keys() == MAKERS.keys()
    kinds = {kind.__name__ for kind in KINDS if issubclass(kind, TextReceiver)}
    assert {type(make()).__name__ for make in MAKERS.values()} == kinds


@each_kind
@pytest.mark.parametrize("part", ["title", "text"])
def test_it_is_refused_at_the_start(kind: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    for source, why in HARMFUL.items():
        quoted = source.replace("'", "''")
        receiver = f"{{name: a, {SETTINGS[kind]}, {part}: '{quoted}'}}"
        path.write_text(f"receivers:\n- {receiver}\n", "utf-8")
        with pytest.raises(ConfigurationError) as caught:
            load(path, {}, {})
        (line,) = str(caught.value).splitlines()
        assert f"receivers[0].{part}" in line
        assert why in line, source


LATER = "{{% if campaign_id == 'a' %}}{}{{% endif %}}"
"""Harmless for every sample alert."""
PASSING = {
    LATER.format(LOOP): "it takes more than 50,000 steps",
    LATER.format("{{ 1 / 0 }}"): "ZeroDivisionError: division by zero",
    LATER.format("{{ labels.nothing }}"): "there is no 'nothing'",
}


def broken() -> Transition:
    """An alert with as many statuses as there may be, for which such templates fail."""
    made = explained(name="a")
    made.data.evidence.counts = {f"STATUS_{number}": number for number in range(50)}
    return made


@each_kind
@pytest.mark.parametrize("source", PASSING)
def test_what_fails_later_is_bounded_and_the_plain_text_is_sent(
    kind: str, source: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    quoted = source.replace("'", "''")
    receiver = f"{{name: a, {SETTINGS[kind]}, title: '{quoted}', text: '{quoted}'}}"
    path.write_text(f"receivers:\n- {receiver}\n", "utf-8")
    assert load(path, {}, {}).receivers
    plain_title, plain_text, _ = shown(kind, broken())
    title, text, failures = shown(kind, broken(), title=source, text=source)
    assert title == plain_title
    assert text == (plain_text or broken().data.summary)
    assert [failure.part for failure in failures] == ["title", "text"]
    assert all(PASSING[source] in failure.reason for failure in failures)


@each_kind
def test_a_loop_that_shows_something_ends_at_the_length_that_there_may_be(kind: str) -> None:
    """And sends no text beyond it: the stand-ins refuse what is too long."""
    source = LOOP.replace("%}{% endfor", "%}{{ a }}\U0001f600{% endfor", 1)
    title, text, failures = shown(kind, broken(), title=source, text=source)
    assert failures == ()
    assert title.endswith("…")
    assert text.endswith("…")


@each_kind
async def test_it_is_told_by_metric_log_and_history(kind: str) -> None:
    metrics = Metrics("1.0")
    hooks = Hooks(template_failed=metrics.template_failed)
    client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True, hooks=hooks)
    (source, *_) = PASSING
    delivery = delivery_of("a.1", transitions.encode(broken()).decode(), "to")
    posted = status(200, '{"ok": true, "channel": "C1", "ts": "1.2"}')
    async with Collector(posted, check=lambda _, __: None) as http, MailServer() as smtp:
        changes: dict[str, Any] = (
            {"server": f"127.0.0.1:{smtp.port}", "tls": "none"}
            if kind == "email"
            else {"url": f"http://127.0.0.1:{http.port}/"}
        )
        to = MAKERS[kind](text=source).model_copy(update=changes)
        with capture_logs() as logs:
            outcome = await client.send(to, delivery, 0.0)
        assert len(http.arrivals) + len(smtp.mails) == 1
    assert isinstance(outcome, Delivered)
    why = "it takes more than 50,000 steps"
    (entry,) = logs
    assert (entry["log_level"], entry["reason"]) == ("warning", why)
    name = "campaign_streams_template_failures_total"
    sample = f'{name}{{kind="{to.kind}",part="text"}} 1.0'
    assert sample in metrics.page({})[0].decode().splitlines()
    outbox = Outbox()
    outbox.add(delivery)
    outbox.attempted(delivery, record_of(outcome, 1, 0.0, 1))
    (made,) = delivery.history
    assert made.warnings == (f"the template of text cannot be rendered: {why}",)
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
