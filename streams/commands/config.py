"""`campaign-streams config`: is the configuration right, and what is in effect?"""

from pathlib import Path
from typing import Any

import click
import yaml

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.rule_test_runs import run_case
from streams.backtest.rule_tests import read_rule_tests
from streams.commands.common import PROGRAM, examples, print_error, print_json, say
from streams.commands.configured import with_configuration, with_sources
from streams.configuration.doubts import doubts
from streams.configuration.load import Loaded
from streams.configuration.models import Configuration
from streams.configuration.problems import mask_url
from streams.terminal import printable_lines


@click.group("config", epilog=examples(f"{PROGRAM} config check --config my.yaml"))
def command() -> None:
    """Check and show the configuration."""


@command.command(
    epilog=examples(
        f"{PROGRAM} config check --config my.yaml",
        f"{PROGRAM} config check --config my.yaml --tests rules_test.yaml",
    )
)
@click.option(
    "--tests",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Run the tests of rules in a file: what arrives, and what the rules have to say. Can be "
    "repeated.",
)
@with_sources()
def check(loaded: Loaded, tests: tuple[Path, ...]) -> int:
    """Say what is wrong with the configuration, and what may be, one line each.

    Looks at the files alone: does not connect to anything. What only may be wrong does not change
    the exit status; a test that fails does.
    """
    for doubt in doubts(loaded.configuration):
        print_error(f"warning: {doubt}")
    source = str(loaded.file or "defaults")
    count = len(loaded.variables)
    if count:
        source += f" (+ {count} environment value{'s' if count > 1 else ''})"
    say(f"configuration is valid: {source}")
    failed = [file for file in tests if not _passes(file, loaded.configuration)]
    return 1 if failed else 0


def _passes(file: Path, configuration: Configuration) -> bool:
    """Run a file of tests; say which failed, and how many there are."""
    settings = BacktestSettings.of(configuration)
    results = [run_case(case, settings) for case in read_rule_tests(file)]
    failed = [each for each in results if each.differences]
    for each in failed:
        case = each.case
        print_error(f"{case.place}: FAILED {case.settings.name}")
        for difference in each.differences:
            print_error(f"{case.place}:   {difference}")
    say(f"{file}: {len(results) - len(failed)} of {len(results)} rule tests passed")
    return not failed


@command.command(
    epilog=examples(
        f"{PROGRAM} config show --config my.yaml",
        f"{PROGRAM} config show --json | jq .windows",
    )
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@with_configuration()
def show(configuration: Configuration, as_json: bool) -> None:
    """Show the values in effect, with secrets hidden."""
    values = _without_url_secrets(configuration.model_dump(mode="json", by_alias=True))
    if as_json:
        print_json(values, indent=2)
        return
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    if printable_lines(text) != text:
        # YAML's own escapes, so that it still says the same.
        text = yaml.safe_dump(values, sort_keys=False)
    click.echo(text, nl=False)


def _without_url_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_url_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_url_secrets(inner) for inner in value]
    return mask_url(value) if isinstance(value, str) else value
