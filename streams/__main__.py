"""`python -m streams` is `campaign-streams`."""

from typing import NoReturn

from streams.signals import end_at_once


def main() -> NoReturn:
    """Run the command; from here on a signal ends it without a traceback."""
    end_at_once()
    # Not at the top: it takes a while, and Ctrl-C may come in it.
    from streams.commands import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
