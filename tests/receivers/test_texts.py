"""Titles and texts from templates, in each kind that has any; and what is sent when they fail."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streams.configuration.load import load
from streams.configuration.models import Configuration
from streams.domain import transitions
from streams.domain.transitions import Transition
from streams.errors import ConfigurationError
from streams.observability.metrics import Metrics
from streams.receivers.email_message import message_of
from streams.receivers.outcomes import Delivered
from streams.receivers.receiver import HttpReceiver
from streams.receivers.registry import KINDS
from streams.receivers.samples import TEST_MARK
from streams.receivers.templates import TemplateFailure
from streams.receivers.texts import TextReceiver, Texts
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from tests.receivers.test_email import Tags, parsed, parts
from tests.support import alertmanager, pagerduty, slack, slack_api
from tests.support.deliveries import delivery_of
from tests.support.kinds import HOSTILE, bot, channel, mail, manager, names, pager, rendered
from tests.support.receiver import Check, Collector
from tests.support.transitions import explained, firing

Shown: TypeAlias = Callable[[Any], Any]
"""Returns the title, or the text, of a request's body."""

MAKERS: dict[str, Callable[..., TextReceiver]] = {
    "pagerduty": pager,
    "slack": channel,
    "slack bot": bot,
    "alertmanager": manager,
    "email": mail,
}
TITLES: dict[str, Shown] = {
    "pagerduty": lambda body: body["payload"]["summary"],
    "slack": lambda body: body["blocks"][0]["text"]["text"],
    "slack bot": lambda body: body["blocks"][0]["text"]["text"],
    "alertmanager": lambda body: body[0]["annotations"]["summary"],
}
TEXTS: dict[str, Shown] = {
    "pagerduty": lambda body: body["payload"]["custom_details"].get("text"),
    "slack": lambda body: body["blocks"][1]["text"]["text"],
    "slack bot": lambda body: body["blocks"][1]["text"]["text"],
    "alertmanager": lambda body: body[0]["annotations"].get("description"),
}
CHECKS: dict[str, Check] = {
    "pagerduty": pagerduty.event_of,
    "slack": slack.message_of,
    "slack bot": lambda _, body: slack_api.message_of(body),
    "alertmanager": alertmanager.alert_of,
}

NOW = 1_795_428_000.0  # 2026-11-23T10:00:00Z

each_kind = pytest.mark.parametrize("kind", MAKERS)


def shown(kind: str, transition: Transition, **keys: str) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return title and text of what is sent, which is right by the kind's API, and failures."""
    receiver = MAKERS[kind](**keys)
    if not isinstance(receiver, HttpReceiver):
        texts = receiver.texts(transition)
        return *shown_in_mail(transition, texts), texts.failures
    request = rendered(receiver, transition, NOW)
    CHECKS[kind](dict(request.headers), request.body)
    body = orjson.loads(request.body)
    return TITLES[kind](body), TEXTS[kind](body), request.template_failures


def shown_in_mail(transition: Transition, texts: Texts) -> tuple[str, str]:
    """Return the subject of a mail, and what stands between its first line and its figures."""
    delivery = delivery_of("a.1", transitions.encode(transition).decode(), "mail")
    message = parsed(message_of(delivery, texts, "alerts@example.com", ["ops@example.com"]))
    plain, html = parts(message)
    _, _, rest = plain.replace("\r\n", "\n").partition("\n\n")
    text, _, _ = rest.partition("\n\nCampaign: ")
    assert Tags(html).found[:7] == ["html", "head", "meta", "meta", "meta", "title", "style"]
    assert all(line in Tags(html).text for line in text.split("\n"))
    return str(message["Subject"]), text


def test_these_are_the_kinds_with_texts() -> None:
    with_texts = {kind.__name__ for kind in KINDS if issubclass(kind, TextReceiver)}
    assert {type(make()).__name__ for make in MAKERS.values()} == with_texts


@each_kind
def test_templates_take_the_place_of_the_built_in_texts(kind: str) -> None:
    title = "{{ labels.team }}: {{ rule }} {{ evidence.rate|percent }}\n"
    text = "{{ explanation.slice.share|percent(0) }} of {{ campaign_id }}\nsee {{ links.alert }}"
    assert shown(kind, explained(name="c"), title=title, text=text) == (
        "crm: failing 40.0%",
        "97% of c\nsee https://a.example/v1/alerts/a",
        (),
    )


@each_kind
def test_a_template_can_add_to_what_is_built_in(kind: str) -> None:
    plain, _, _ = shown(kind, explained())
    title, text, _ = shown(kind, explained(), title="eu: {{ title }}", text="{{ text }}!")
    assert title == f"eu: {plain}"
    assert text == "failing firing in campaign a: 40 of 100 attempts (40.0%)!"


@each_kind
def test_without_templates_or_with_ones_that_show_nothing_it_is_what_is_built_in(kind: str) -> None:
    made = explained()
    plain_title, plain_text, _ = shown(kind, made)
    title, text, failures = shown(kind, made, title="{{ delivery_type }}", text="{# #}\n")
    assert (title, failures) == (plain_title, ())
    assert text == (plain_text or made.data.summary)


@each_kind
def test_what_cannot_be_rendered_leaves_the_built_in_text_and_is_told(kind: str) -> None:
    made = firing()
    made.data.summary = "40 of 100"
    plain, _, _ = shown(kind, made)
    failing = "{{ explanation.slice.share }}"
    assert shown(kind, made, title=failing, text="of {{ rule }}") == (
        plain,
        "of failing",
        (
            TemplateFailure(
                "title", "there is no 'slice', as what it is asked of is null for some alerts"
            ),
        ),
    )
    title, text, failures = shown(kind, made, title="{{ rule }}", text=failing)
    assert (title, text) == ("failing", "40 of 100")
    assert [failure.part for failure in failures] == ["text"]


@each_kind
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_the_request_is_right(kind: str, name: str) -> None:
    many = "{% for n in range %}{{ campaign_id }}{{ labels['on-call'] }}{% endfor %}"
    many = many.replace("range", "[" + "1," * 50 + "]")
    title, text, failures = shown(
        kind, explained(name=name), title=f"A {many}", text=f"B {{{{ campaign_id }}}}\n{many}"
    )
    assert failures == ()
    assert title.isprintable()
    assert title.startswith("A")
    assert text.startswith("B")
    assert all(line.isprintable() for line in text.split("\n"))


def test_in_slack_names_mention_nobody_and_the_template_can() -> None:
    source = "<!subteam^S1|on-call> {{ campaign_id }} *{{ labels['on-call'] }}*"
    made = explained(name="<!channel> & <https://evil.example|x>")
    body = orjson.loads(rendered(channel(title=source, text=source), made).body)
    title, text = TITLES["slack"](body), TEXTS["slack"](body)
    name = "&lt;!channel&gt; &amp; &lt;https://evil.example|x&gt;"
    assert text == f"<!subteam^S1|on-call> {name} *{name}*"
    # A header is plain text, so nothing in it means anything.
    assert title.startswith("<!subteam^S1|on-call> <!channel> & <https")
    body = orjson.loads(rendered(channel(title=source), made).body)
    assert "<!subteam" not in body["text"]
    assert "<!channel" not in body["text"]


@settings(max_examples=50)
@given(st.sampled_from(sorted(MAKERS)), names, st.integers(0, 2**32))
def test_any_name_at_any_place_of_a_template(kind: str, name: str, seed: int) -> None:
    parts = ["{{ campaign_id }}", "*", "_", "|", "x" * 900, "{{ summary }}", "\n", "\U0001f600"]
    source = "t" + "".join(random.Random(seed).choices(parts, k=6))  # noqa: S311 - a test
    _, _, failures = shown(kind, explained(name=name), title=source, text=source)
    assert failures == ()


@each_kind
def test_a_test_alert_is_marked_whatever_the_template_says(kind: str) -> None:
    made = explained()
    data = msgspec.structs.replace(made.data, alert_id="test-1")
    made = msgspec.structs.replace(made, data=data)
    title, text, _ = shown(kind, made, title="all is lost", text="{{ rule }}")
    assert (title, text) == (f"{TEST_MARK}all is lost", f"{TEST_MARK}failing")
    title, _, _ = shown(kind, made)
    assert title.startswith(TEST_MARK)
    long = "{% for n in [1,2,3,4] %}{{ evidence.counts|join('-')|upper }}" + "x" * 900
    shown(kind, made, title=long + "{% endfor %}", text=long + "{% endfor %}")


# At the start


def configured(tmp_path: Path, receiver: str, rules: str = "") -> Configuration:
    path = tmp_path / "my.yaml"
    path.write_text(f"{rules}\nreceivers:\n- {receiver}\n", "utf-8")
    return load(path, {}, {})


SLACK = "{name: chat, kind: slack, webhook_path: T/B/x, %s}"
LABELLED = """\
rules:
- {name: a, group: failure, labels: {team: crm}}
- {name: b, group: throttled, severity: warning}
- {name: c, group: failure, labels: {team: shop}, receivers: []}"""


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (
            "title: '{{ rul }}'",
            "my.yaml:6: receivers[0].title is \"{{ rul }}\": 'rul' is undefined, did you mean rule",
        ),
        (
            "text: '{{ labels.team }}'",
            "there is no 'team' (in a sample of campaign.alert.firing of rule b)",
        ),
        ("text: '{{ ends_at[:4] }}'", "(in a sample of campaign.alert.firing of rule a)"),
        (
            "text: '{% if ends_at %}{{ explanation.slice.share }}{% endif %}'",
            "null for some alerts (in a sample of campaign.alert.resolved of rule a)",
        ),
        (
            f"text: '{'{% for a in evidence.counts %}' * 3}{'{% endfor %}' * 3}'",
            "it takes more than 50,000 steps",
        ),
        ("title: '{% include \"/etc/passwd\" %}'", "include is not possible in a template"),
        ("title: '{{ rule '", "receivers[0].title is"),
        ("title: ''", "expected some text"),
        ("title: '{{ rul }}', matchers: [severity=info]", "of rule sample)"),
    ],
)
def test_a_template_that_fails_for_a_sample_stops_the_start(
    keys: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(tmp_path, SLACK % keys, LABELLED)
    (line,) = str(caught.value).splitlines()
    assert why in line


@pytest.mark.parametrize(
    "keys",
    [
        "text: '{{ labels.team|default(rule) }} {{ evidence.figures.odds|default(0) }}'",
        "text: '{{ labels.team }}', matchers: ['team!=\"\"']",
        "text: '{{ labels.team }}', matchers: [rule=a]",
        "text: '{% if explanation %}{{ explanation.usual_rate|percent }}{% endif %}'",
        "title: null, text: null",
    ],
)
def test_a_template_is_checked_with_the_rules_that_can_reach_the_receiver(
    keys: str, tmp_path: Path
) -> None:
    assert configured(tmp_path, SLACK % keys, LABELLED).receivers


def test_rules_that_differ_are_all_tried_and_of_those_alike_a_few(tmp_path: Path) -> None:
    rules = "\n".join(
        ["rules:"]
        + [f"- {{name: r{n}, group: failure, labels: {{n: x{n}}}}}" for n in range(100)]
        + ["- {name: last, group: failure, severity: info, labels: {n: x}}"]
    )
    text = "text: '{%% if labels.n == \"x%s\" %%}{{ oops }}{%% endif %%}'"
    for value, refused in (("0", True), ("5", True), ("6", False), ("", True)):
        receiver = SLACK % (text % value)
        if refused:
            with pytest.raises(ConfigurationError, match="'oops' is undefined"):
                configured(tmp_path, receiver, rules)
        else:
            assert configured(tmp_path, receiver, rules).receivers


def test_kinds_without_texts_have_no_such_keys(tmp_path: Path) -> None:
    receiver = "{name: a, url: 'https://a.example', secrets: [whsec_%s], title: x}" % ("A" * 32)
    with pytest.raises(ConfigurationError, match=r"\[0\].title is not known for kind web"):
        configured(tmp_path, receiver)


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    (written,) = re.findall(r"```yaml\n(receivers:\n.*?title: .*?)```", document, re.DOTALL)
    path = tmp_path / "my.yaml"
    path.write_text(written.replace("_file: /run/secrets/chat", ": T/B/x"), "utf-8")
    (receiver,) = load(path, {}, {}).receivers
    made = explained(name="c")
    assert isinstance(receiver, HttpReceiver)
    body = orjson.loads(rendered(receiver, made).body)
    assert TITLES["slack"](body) == "Firing: failing (critical), 40.0% in c"
    assert TEXTS["slack"](body) == (
        "<!subteam^S0123456|on-call> please look:\n"
        "failing firing in campaign c: 40 of 100 attempts (40.0%)\nc: 24\nSUCCESS: 60"
    )


# When it is sent


async def test_a_failing_template_loses_no_notification_and_is_counted_and_logged() -> None:
    metrics = Metrics("1.0")
    hooks = Hooks(template_failed=metrics.template_failed)
    client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True, hooks=hooks)
    made = firing()
    made.data.labels = {}
    async with Collector(check=lambda _, __: None) as collector:
        url = f"http://127.0.0.1:{collector.port}/"
        to = pager(title="{{ labels.team }}").model_copy(update={"url": url})
        delivery = delivery_of("a.1", transitions.encode(made).decode(), "pager")
        with capture_logs() as logs:
            outcomes = [await client.send(to, delivery, 0.0) for _ in range(2)]
    assert outcomes == [Delivered(204)] * 2
    assert [each.value["payload"]["summary"] for each in collector.arrivals] == ["failing"] * 2
    sample = 'campaign_streams_template_failures_total{kind="pagerduty",part="title"} 2.0'
    assert sample in metrics.page({})[0].decode().splitlines()
    assert [(each["log_level"], each["receiver"], each["reason"]) for each in logs] == [
        ("warning", "pager", "there is no 'team'")
    ] * 2
