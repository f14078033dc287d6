"""The `campaign-streams` command: one file a subcommand, imported when the subcommand is called.

`Program.get_command` is the only late import of the commands; a subcommand's file imports at its
top whatever it needs. So `campaign-streams --help` imports neither pydantic nor aiokafka nor Faust,
and `campaign-streams query` no Faust.

- `worker`, `dev`, `produce`, `simulate`, `backtest`, `query`, `explain`, `alerts`, `silence`,
  `delivery`, `config`, `receivers`, `routes`, `topics`, `dead_letter`, `completion`: subcommands
- `asking`: the options of commands that ask the API; `rows`: what they print, in any form;
  `following`: what is new in it; `trends`: how campaigns went, drawn
- `dead_letter_output`: dead letters as a table, and for programs
- `backtest_output`: transitions, and what they come to, as tables and as JSON
- `common`: the program's name, examples in the help, printing
- `inputs`: the files that commands read; `times`: times as options have them
- `configured`: the options --config and --set, and the configuration in effect
- `progress`, `tables`, `sparklines`: the progress bar, tables and small plots of the terminal
- `running`: signals while a command runs
"""

import contextlib
import errno
import importlib
import importlib.metadata
import os
import sys
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from streams.commands.common import PROGRAM, examples, print_error
from streams.commands.running import Interrupted, output_is_gone
from streams.errors import UserError

INTERRUPTED = 130
OUTPUT_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
COMMANDS = {
    "worker": "Consume, count, alert, deliver and serve the HTTP API.",
    "dev": "Run the whole system on this machine, with traffic.",
    "produce": "Send recorded events to the source topic.",
    "simulate": "Make labelled traffic.",
    "backtest": "Say what rules would have said of recorded events.",
    "query": "Ask the API about campaigns, windows and alerts.",
    "explain": "Say why rules fire in a campaign, or why not, in figures.",
    "alerts": "Acknowledge alerts.",
    "silence": "Make, list and end silences.",
    "delivery": "Send deliveries again.",
    "config": "Check and show the configuration.",
    "receivers": "Send a test alert to a receiver, and show what is sent and answered.",
    "routes": "Say who would be notified of an alert, and why others would not.",
    "topics": "Make the topics.",
    "dead-letter": "List dead letters and why they were rejected, and replay them.",
    "completion": "Print what bash, zsh or fish need to complete commands.",
}


class UnreadError(Exception):
    """Nobody reads the output any more."""


class Program(click.Group):
    """Finds subcommands by the name of their file, so that `--help` reads none of them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # As another error: click takes it for a failure. It may also be about a connection.
            if output_is_gone():
                raise UnreadError from error
            raise

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """In the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Read the file of the subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"streams.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the subcommands' names without reading them."""
        names = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without reading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        try:
            version = importlib.metadata.version(PROGRAM)
        except importlib.metadata.PackageNotFoundError:
            version = "(a checkout that is not installed)"
        click.echo(f"{PROGRAM} {version}")
        ctx.exit()


@click.command(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(f"{PROGRAM} dev", f"{PROGRAM} worker --config campaign-streams.yaml"),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def program() -> None:
    """Watch the send events of marketing campaigns, and alert when sending breaks."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 success, 1 failure, 2 wrong usage or configuration.

    128 and a signal's number if one has ended it. Errors of the user are one line each on standard
    error. Anything else is a defect and keeps its traceback.
    """
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except (BrokenPipeError, UnreadError):
        # The reader has seen enough, as head has: no failure, and nobody to tell.
        status = 0
    except OSError as error:
        if error.errno not in OUTPUT_FAILS or error.filename is not None:
            raise
        print_error(f"the output cannot be written: {error.strerror}")
        status = 1
    _close_output()
    sys.exit(status)


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = program.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        print_error(_one_line(error))
        return error.exit_code
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    except Interrupted as interrupted:
        return interrupted.status
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _close_output() -> None:
    """Keep Python from reporting, at its end, output that nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if context else message
