"""`campaign-streams routes`: who would be notified of an alert, by the configuration alone."""

import difflib
from collections.abc import Iterator, Mapping

import click

from streams.commands.common import PROGRAM, examples, print_error, print_json, say
from streams.commands.configured import with_configuration
from streams.commands.tables import Column, print_table
from streams.configuration.alerting import RuleSettings
from streams.configuration.models import Configuration
from streams.configuration.routes import FROM_EVENTS, FROM_SCOPES, labels_of_rule, routes_of
from streams.configuration.translation import partition_settings_of
from streams.domain.notification.stage import Withheld
from streams.errors import UsageError
from streams.terminal import abbreviated

_LONGEST_SHOWN = 100
"""Characters of a label or a name in a line for people; `--json` has all of it."""


@click.group(
    "routes", epilog=examples(f"{PROGRAM} routes test rule=failure-spike campaign_id=spring-sale")
)
def command() -> None:
    """Say which alerts go where."""


@command.command(
    epilog=examples(
        f"{PROGRAM} routes test rule=failure-spike campaign_id=spring-sale app_id=shop",
        f"{PROGRAM} routes test rule=throttled-spike --verify on-call,ops --config my.yaml",
    )
)
@click.argument("labels", nargs=-1, required=True)
@click.option(
    "--verify",
    metavar="NAMES",
    help="The receivers that should get it, with commas between them, or an empty text for none; "
    "exit status 1 if they are others.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@with_configuration()
def test(
    configuration: Configuration, labels: tuple[str, ...], verify: str | None, as_json: bool
) -> int:
    """Say who would be notified of an alert with LABELS, and why the others would not.

    LABELS are name=value: `rule`, and campaign_id, app_id, treatment_id or channel_type where
    receivers ask for them. Severity and labels of the rule are added. Looks at the configuration
    alone: an alert that is silenced goes nowhere.
    """
    given = _read(labels)
    rule = _rule_of(configuration, given)
    alert = {**labels_of_rule(rule), **given}
    routes = routes_of(configuration.receivers)
    reasons = {name: routes.why_not(name, rule.receivers, alert) for name in routes.receivers}
    notes = [*_notes(configuration, rule, given)]
    kinds = {receiver.name: receiver.kind for receiver in configuration.receivers}
    if as_json:
        print_json(_as_json(alert, reasons, kinds, notes), indent=2)
    else:
        _print(reasons, kinds)
        for note in notes:
            say(f"note: {note}", err=True)
    return _verified([name for name, why in reasons.items() if why is None], verify)


def _read(labels: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise UsageError(
                f"{_shown(label)} is no label: expected name=value, such as campaign_id=spring-sale"
            )
        if name in found:
            raise UsageError(f"label {_shown(name)} is there twice")
        found[name] = value
    return found


def _rule_of(configuration: Configuration, given: Mapping[str, str]) -> RuleSettings:
    known = {rule.name: rule for rule in configuration.rules}
    listed = f"known rules: {', '.join(known) or 'none'}"
    name = given.get("rule")
    if name is None:
        raise UsageError(f"the label rule is missing, as each alert is of a rule ({listed})")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else listed
        raise UsageError(f"there is no rule {_shown(name)} ({hint})")
    return known[name]


def _notes(
    configuration: Configuration, rule: RuleSettings, given: Mapping[str, str]
) -> Iterator[str]:
    """Yield what makes an alert with these labels one that no rule would raise."""
    labels = labels_of_rule(rule)
    for name, value in given.items():
        if name not in labels:
            near = difflib.get_close_matches(name, labels, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            yield f"alerts of rule {rule.name} have no label {_shown(name)}{hint}"
        elif name in FROM_SCOPES and value and FROM_SCOPES[name] != rule.scope:
            yield f"alerts of rule {rule.name} have no {name}, as its scope is {rule.scope}"
        elif name not in FROM_EVENTS | FROM_SCOPES.keys() and value != labels[name]:
            yield f"alerts of rule {rule.name} have {name}={_shown(labels[name])}"
    (watches,) = (
        each for each in partition_settings_of(configuration, None).rules if each.name == rule.name
    )
    if "campaign_id" in given and not watches.matches_campaign(given["campaign_id"]):
        yield f"rule {rule.name} does not watch this campaign: see its match.campaigns"
    if "app_id" in given and not watches.matches_app(given["app_id"]):
        yield f"rule {rule.name} does not watch this app: see its match.apps"


def _as_json(
    labels: Mapping[str, str],
    reasons: Mapping[str, Withheld | None],
    kinds: Mapping[str, str],
    notes: list[str],
) -> dict[str, object]:
    return {
        "labels": dict(labels),
        "receivers": [
            {
                "name": name,
                "kind": kinds[name],
                "notified": why is None,
                "reason": None if why is None else why.reason,
                "detail": None if why is None else why.detail,
            }
            for name, why in reasons.items()
        ],
        "notes": notes,
    }


def _print(reasons: Mapping[str, Withheld | None], kinds: Mapping[str, str]) -> None:
    if not reasons:
        say("no receiver is configured")
        return
    columns = (
        Column("receiver", 0, 10),
        Column("kind", 2),
        Column("notified", 0),
        Column("why not", 1, 12),
    )
    print_table(
        columns,
        [
            (name, kinds[name], "yes" if why is None else "no", why.detail if why else "")
            for name, why in reasons.items()
        ],
    )


def _verified(found: list[str], verify: str | None) -> int:
    if verify is None:
        return 0
    wanted = {name.strip() for name in verify.split(",")} - {""}
    if wanted == set(found):
        return 0
    print_error(
        f"expected {', '.join(sorted(wanted)) or 'nobody'} to be notified, "
        f"found {', '.join(found) or 'nobody'}"
    )
    return 1


def _shown(text: str) -> str:
    return abbreviated(text, _LONGEST_SHOWN)
