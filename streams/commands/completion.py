"""`campaign-streams completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from streams.commands.common import PROGRAM, examples

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = f"_{PROGRAM.upper().replace('-', '_')}_COMPLETE"
"""The variable by which a shell asks the program, as click names it."""


@click.command(
    epilog=examples(
        f"source <({PROGRAM} completion bash)",
        f"{PROGRAM} completion zsh > ~/.zfunc/_{PROGRAM}",
        f"{PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish",
    )
)
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print a script that has SHELL complete subcommands and options."""
    completion = get_completion_class(shell)
    assert completion is not None  # noqa: S101 - click knows them
    root = click.get_current_context().find_root().command
    click.echo(completion(root, {}, PROGRAM, _VARIABLE).source())
