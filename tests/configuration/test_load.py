import re
from pathlib import Path
from typing import Literal

import pytest

from streams.configuration.kinds import one_of
from streams.configuration.load import load, read
from streams.configuration.models import Configuration
from streams.domain.deliveries import Delivery
from streams.errors import ConfigurationError
from streams.receivers.receiver import HttpReceiver, Request
from streams.receivers.webhook import WebhookReceiver
from streams.settings import Secret, Settings, Text

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "config" / "campaign-streams.yaml"
SECRETS = [f"whsec_{letter * 32}" for letter in "AB"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "my.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def problems(
    text: str = "",
    environ: dict[str, str] | None = None,
    overrides: dict[str, object] | None = None,
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(write(text), environ or {}, overrides or {})
    return str(caught.value).splitlines()


def test_the_commented_example_is_the_defaults() -> None:
    assert load(EXAMPLE, {}, {}) == Configuration()


def test_the_commented_example_has_every_key() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    written = {found[1] for line in lines if (found := re.match(r"[ #-]*([a-z_0-9]+):", line))}
    dump = Configuration.model_json_schema(by_alias=True)
    sections = [dump, *dump["$defs"].values()]
    known = {key for section in sections for key in section.get("properties", {})}
    # A rule has a group or statuses, a receiver its secrets or the file of them.
    written |= {key.removesuffix("_file") for key in written}
    assert known - written == set()


def test_without_a_file_there_are_defaults() -> None:
    assert read(None, {}, {}).configuration == Configuration()


def test_precedence() -> None:
    path = write("http: {port: 1, host: file, anonymous: always}\nwindows: {size: 5s}")
    environ = {"CAMPAIGN_STREAMS_HTTP__PORT": "2", "CAMPAIGN_STREAMS_HTTP__HOST": "environment"}
    configuration = load(path, environ, {"http.port": "3", "http.host": None})
    assert (configuration.http.port, configuration.http.host) == (3, "environment")
    assert configuration.windows.size == 5
    assert configuration.windows.grace == 30


def test_the_file_is_named_found_or_missing() -> None:
    found = write("http: {port: 1}", "config/campaign-streams.yaml")
    other = write("http: {port: 2}", "other.yaml")
    assert read(None, {}, {}).file == found
    assert load(None, {"CAMPAIGN_STREAMS_CONFIG": "other.yaml"}, {}).http.port == 2
    assert load(found, {"CAMPAIGN_STREAMS_CONFIG": str(other)}, {}).http.port == 1
    with pytest.raises(ConfigurationError, match=r"^nope\.yaml: cannot be read: No such file"):
        load(Path("nope.yaml"), {}, {})


def test_text_is_read_by_its_key() -> None:
    environ = {
        "CAMPAIGN_STREAMS_KAFKA__BOOTSTRAP_SERVERS": "a:1, b:2",
        "CAMPAIGN_STREAMS_KAFKA__SASL__MECHANISM": "PLAIN",
        "CAMPAIGN_STREAMS_KAFKA__SASL__USERNAME": "null",
        "CAMPAIGN_STREAMS_KAFKA__SASL__PASSWORD": "0123: {#",
        "CAMPAIGN_STREAMS_SOURCE__KEYED": "true",
        "CAMPAIGN_STREAMS_DELIVERY__RETRY_SCHEDULE": "1s,2s",
        "CAMPAIGN_STREAMS_DELIVERY__ALLOW_NETWORKS": "[10.0.0.0/8, '::1/128']",
        "CAMPAIGN_STREAMS_FLUSH__INTERVAL": "",
    }
    configuration = load(None, environ, {"rules": "[{name: a, group: failure, for: 2s}]"})
    assert configuration.kafka.bootstrap_servers == ("a:1", "b:2")
    assert configuration.kafka.sasl.username == "null"
    assert configuration.kafka.sasl.password is not None
    assert configuration.kafka.sasl.password.get_secret_value() == "0123: {#"
    assert configuration.source.keyed is True
    assert configuration.delivery.retry_schedule == (1.0, 2.0)
    assert [str(each) for each in configuration.delivery.allow_networks] == [
        "10.0.0.0/8",
        "::1/128",
    ]
    assert configuration.flush.interval == 0.1
    assert [(rule.name, rule.for_) for rule in configuration.rules] == [("a", 2.0)]


def test_secrets_from_files() -> None:
    write("pass word\n", "secrets/kafka")
    write("\n".join(SECRETS) + "\n", "secrets/ops")
    path = write(
        "kafka: {sasl: {mechanism: PLAIN, username: a, password_file: ../secrets/kafka}}\n"
        "receivers: [{name: ops, url: 'https://a/', secrets: [whsec_x]}]",
        "etc/my.yaml",
    )
    configuration = load(path, {"CAMPAIGN_STREAMS_RECEIVERS__0__SECRETS_FILE": "secrets/ops"}, {})
    assert configuration.kafka.sasl.password is not None
    assert configuration.kafka.sasl.password.get_secret_value() == "pass word"
    (receiver,) = configuration.receivers
    assert isinstance(receiver, WebhookReceiver)
    assert [secret.get_secret_value() for secret in receiver.secrets] == SECRETS


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("password_file: nope", '"nope" cannot be read: No such file or directory'),
        ("password_file: empty", '"empty" is empty'),
        ("password_file: binary", '"binary" is not UTF-8'),
        ("password_file: nope, password: y", "password is also set directly"),
    ],
)
def test_a_secret_that_cannot_be_had_is_one_problem(keys: str, said: str) -> None:
    write(" \n", "empty")
    Path("binary").write_bytes(b"\xff")
    text = f"kafka:\n  sasl: {{mechanism: PLAIN, username: a, {keys}}}"
    assert problems(text) == [f"my.yaml:2: kafka.sasl.password_file: {said}"]


def test_a_receiver_s_secrets_that_cannot_be_had_are_one_problem() -> None:
    text = "receivers:\n- name: ops\n  url: 'https://a/'\n"
    cannot = '"nope" cannot be read: No such file or directory'
    assert problems(f"{text}  secrets_file: nope") == [
        f"my.yaml:4: receivers[0].secrets_file: {cannot}"
    ]
    name = "CAMPAIGN_STREAMS_RECEIVERS__0__SECRETS_FILE"
    assert problems(text, {name: "nope"}) == [f"environment {name}: {cannot}"]


def test_a_secret_and_its_file_in_the_environment() -> None:
    write("s3cret", "file")
    name = "CAMPAIGN_STREAMS_KAFKA__SASL__PASSWORD"
    (line, *_) = problems(environ={name: "hunter2", f"{name}_FILE": "file"})
    assert line == f"environment {name}_FILE: kafka.sasl.password is also set directly"


def test_included_rules_and_receivers() -> None:
    write("rules: [{name: a, group: failure}]\n", "etc/rules.yaml")
    path = write("include: rules.yaml\nhttp: {port: 1}\n", "etc/my.yaml")
    assert [rule.name for rule in load(path, {}, {}).rules] == ["a"]
    named = load(None, {"CAMPAIGN_STREAMS_INCLUDE": "etc/rules.yaml"}, {})
    assert [rule.name for rule in named.rules] == ["a"]


def test_what_an_included_file_may_not_have() -> None:
    write("rules:\n- {name: a, group: failur}\nhttp: {port: 1}\nreceivers: []\n", "more.yaml")
    assert problems("include: more.yaml\nreceivers: []") == [
        "more.yaml:3: http cannot be in an included file, only rules and receivers",
        "more.yaml:4: receivers is also in my.yaml:2, keep one of them",
        (
            "more.yaml:2: rules[0].group is \"failur\": expected 'success', 'failure', 'throttled' "
            "or 'unrecognised'"
        ),
    ]


def test_all_problems_at_once_with_their_places() -> None:
    text = """
kafka:
  bootstrap_server: [a:1]
http:
  port: 99999
retention: 1h
rules:
  - name: a
    group: failure
    receivers: [ops]
"""
    environ = {"CAMPAIGN_STREAMS_HTTP_PORT": "1", "CAMPAIGN_STREAMS_WINDOWS__SIZE": "x"}
    assert problems(text, environ, {"flush.intervall": "1s", "kafka": "{}"}) == [
        (
            "environment CAMPAIGN_STREAMS_HTTP_PORT is not known, did you mean "
            "CAMPAIGN_STREAMS_HTTP__PORT?"
        ),
        "command line flush.intervall is not known, did you mean flush.interval?",
        (
            "command line kafka is a section: set one of its keys (bootstrap_servers, group_id, "
            "client_id, group_instance_id, session_timeout, guarantee, transaction_timeout, tls, "
            "sasl)"
        ),
        "my.yaml:3: kafka.bootstrap_server is not known, did you mean kafka.bootstrap_servers?",
        (
            'environment CAMPAIGN_STREAMS_WINDOWS__SIZE: windows.size is "x": expected a duration '
            "such as 200ms, 5s, 1m, 24h or 7d, or seconds"
        ),
        "my.yaml:5: http.port is 99999: expected less than or equal to 65535",
        (
            "my.yaml:10: rules[0].receivers: rule a names receiver ops, which does not exist "
            "(known receivers: none)"
        ),
        "my.yaml:6: retention is not known, did you mean windows.retention?",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("source: {keyed: yes}", 'my.yaml:1: source.keyed is "yes": expected true or false'),
        ("http: {port: 010}", 'my.yaml:1: http.port is "010": expected a whole number'),
        ("http: {port: 0x50}", 'my.yaml:1: http.port is "0x50": expected a whole number'),
        ("http: {port: 8_080}", 'my.yaml:1: http.port is "8_080": expected a whole number'),
        ("http: {port: 80.0}", "my.yaml:1: http.port is 80.0: expected a whole number"),
        ("kafka: {group_id: 7}", "my.yaml:1: kafka.group_id is 7: expected text, put it in quotes"),
        ("rules: [{name: a, group: failure, labels: {1: a}}]", "my.yaml:1: a key has to be text"),
        ("http: {port: 1}\nhttp: {port: 2}", "my.yaml:2: key http is there twice, first at my"),
        ("http:\n\tport: 1", "my.yaml:2: is not YAML: found character"),
        ("http: {port: 1", "my.yaml:1: is not YAML: expected ',' or '}'"),
        ("a: 1\n---\nb: 2", "my.yaml:2: is not YAML: expected one document only"),
        ("- a", "my.yaml:1: expected keys with values"),
        ("rules:", "my.yaml:1: rules: expected a list"),
        ("a: &a [*a]", "my.yaml:1: is nested more than 32 deep"),
    ],
)
def test_traps_of_yaml(text: str, line: str) -> None:
    assert problems(text)[0].startswith(line)


def test_sixty_one_thirty_is_not_ninety() -> None:
    assert '"1:30": expected a duration' in problems("kafka: {session_timeout: 1:30}")[0]


def test_a_section_with_everything_commented_out_is_the_defaults() -> None:
    assert load(write("kafka:\n  # group_id: x\nwindows:\n"), {}, {}) == Configuration()


@pytest.mark.parametrize(
    "text",
    [
        "kafka: {sasl: {passwrod: hunter2}}",
        "kafka: {sasl: {password: [hunter2]}}",
        "kafka: {sasl: {password: *hunter2}}",
        "kafka: {sasl: {password: !hunter2 x}}",
        "receivers: [{name: a, url: 'https://hunter2@x/', secrets: [hunter2, whsec_hunter2]}]",
        "receivers: [{name: a, url: 'ftp://x/?token=hunter2', secrets: hunter2}]",
    ],
)
def test_problems_do_not_tell_secrets(text: str) -> None:
    assert not [line for line in problems(text) if "hunter2" in line]


def test_what_query_reads_is_no_key() -> None:
    environ = {"CAMPAIGN_STREAMS_URL": "http://10.0.0.1:8080", "CAMPAIGN_STREAMS_TOKEN": "t"}
    assert load(write(""), environ, {}) == Configuration()


def test_what_kubernetes_adds_is_not_ours() -> None:
    environ = {
        "CAMPAIGN_STREAMS_SERVICE_HOST": "10.0.0.1",
        "CAMPAIGN_STREAMS_SERVICE_PORT_HTTP": "80",
        "CAMPAIGN_STREAMS_PORT": "tcp://10.0.0.1:80",
        "CAMPAIGN_STREAMS_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert read(None, environ, {}).variables == ()


def test_items_of_lists() -> None:
    path = write("rules: [{name: a, group: failure}]")
    configuration = load(
        path,
        {"CAMPAIGN_STREAMS_RULES__0__FOR": "5s"},
        {"rules[0].detector.sensitivity": "0.7", "rules.1": "{name: b, group: throttled}"},
    )
    first, second = configuration.rules
    sensitivity = first.detector.model_dump()["sensitivity"]
    assert (first.for_, sensitivity, second.name) == (5.0, 0.7, "b")
    (line,) = problems(overrides={"rules.7.name": "x"})
    assert line.startswith("command line rules.7.name: there is no item 7")


# Sections that come in several kinds


class Fax(HttpReceiver):
    """A second kind, with a key that the first has not."""

    kind: Literal["fax"] = "fax"
    number: Text
    pin: Secret | None = None

    def render(self, delivery: Delivery, now: float) -> Request:
        raise NotImplementedError


class WithFax(Settings):
    receivers: tuple[one_of((WebhookReceiver, Fax)), ...] = ()  # type: ignore[valid-type]


@pytest.fixture
def with_fax(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("load", "schema", "sources"):
        monkeypatch.setattr(f"streams.configuration.{module}.Configuration", WithFax)


@pytest.mark.usefixtures("with_fax")
def test_a_kind_has_its_own_keys_everywhere() -> None:
    write("1234\n", "secrets/pin")
    path = write(
        "receivers:\n- {name: ops, kind: fax, url: 'https://a/', pin_file: ../secrets/pin}\n"
        f"- {{name: dev, url: 'https://b/', secrets: [{SECRETS[0]}]}}",
        "etc/my.yaml",
    )
    configuration = load(path, {"CAMPAIGN_STREAMS_RECEIVERS__0__NUMBER": "0049"}, {})
    ops, dev = configuration.receivers
    assert isinstance(ops, Fax)
    assert isinstance(dev, WebhookReceiver), "the first kind is meant where none is named"
    assert ops.number == "0049", "text, as the key of that kind is text"
    assert ops.pin is not None
    assert ops.pin.get_secret_value() == "1234"
    shown = configuration.model_dump(mode="json")["receivers"]
    assert shown[0] == {
        "name": "ops",
        "kind": "fax",
        "url": "https://a/",
        "timeout": "10s",
        "matchers": [],
        "number": "0049",
        "pin": "********",
    }


FAX = "receivers:\n- name: ops\n  url: https://a/\n  kind: "


@pytest.mark.usefixtures("with_fax")
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("fox", 'my.yaml:4: receivers[0].kind is "fox": not known, known kinds: webhook, fax, did'),
        ("[fax]", "my.yaml:4: receivers[0].kind: not known, known kinds: webhook, fax"),
        (
            "fax\n  nummber: x\n  number: y",
            "my.yaml:5: receivers[0].nummber is not known, did you mean receivers[0].number?",
        ),
        ("fax\n  number: ''", 'my.yaml:5: receivers[0].number is "": expected some text'),
        ("fax", "my.yaml:2: receivers[0].number is missing"),
        (
            f"webhook\n  secrets: [{SECRETS[0]}]\n  number: x",
            "my.yaml:6: receivers[0].number is not known for kind webhook, only for fax",
        ),
        ("fax\n  number: y\n  pin: [hunter2]", "my.yaml:6: receivers[0].pin: expected text, put"),
    ],
)
def test_problems_of_a_kind(keys: str, said: str) -> None:
    (line,) = problems(FAX + keys)
    assert line.startswith(said)


@pytest.mark.usefixtures("with_fax")
def test_a_section_that_has_no_keys() -> None:
    assert problems("receivers: [fax]") == [
        'my.yaml:1: receivers[0] is "fax": expected keys with values'
    ]
