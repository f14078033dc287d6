"""`campaign-streams receivers`: does a receiver take what is sent to it?"""

import difflib
import importlib.metadata
from functools import partial
from http import HTTPStatus

import click

from streams.commands import running
from streams.commands.common import PROGRAM, examples, print_error, print_json, say
from streams.commands.configured import with_configuration
from streams.configuration.models import Configuration
from streams.errors import UsageError
from streams.receivers.masking import Masking
from streams.receivers.outcomes import Answer, Delivered, Disable, GiveUp, Outcome, Retry
from streams.receivers.receiver import Receiver
from streams.settings import parse_duration
from streams.terminal import abbreviated
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from streams.webhooks.trials import Exchange, SentRequest, Trial

LONGEST_BODY = 1_000
"""Characters of an answer's body that are shown; `--json` has all that was read."""
LONGEST_NAME = 100


@click.group("receivers", epilog=examples(f"{PROGRAM} receivers test ops"))
def command() -> None:
    """Try receivers."""


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@command.command(
    epilog=examples(
        f"{PROGRAM} receivers test ops",
        f"{PROGRAM} receivers test pager --resolve-after 1m --config my.yaml",
    )
)
@click.argument("name")
@click.option(
    "--resolve-after",
    default="0s",
    show_default=True,
    metavar="TIME",
    callback=_duration,
    help="How long the alert fires. Alertmanager tells nobody of one that is over before its "
    "group_wait.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
@with_configuration()
def test(configuration: Configuration, name: str, resolve_after: float, as_json: bool) -> int:
    """Send a test alert to the receiver NAME, and show what is sent and answered.

    The alert fires and is resolved, and says that it is a test. It is sent as a worker sends
    alerts, and only where `delivery` allows it; matchers and silences do not matter. Secrets are
    hidden. Exit status 0 if the receiver took all of it. If this is interrupted before, it is not
    resolved.
    """
    receiver = _receiver(configuration, name)
    masking = Masking(receiver)
    exchanges = running.run(
        _try(configuration, receiver, resolve_after, None if as_json else masking)
    )
    accepted = all(each.accepted for each in exchanges)
    if as_json:
        print_json(
            {
                "receiver": receiver.name,
                "kind": receiver.kind,
                "accepted": accepted,
                "exchanges": [_as_json(each, masking) for each in exchanges],
            },
            indent=2,
        )
    return 0 if accepted else 1


def _receiver(configuration: Configuration, name: str) -> Receiver:
    known = {receiver.name: receiver for receiver in configuration.receivers}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    listed = f"known receivers: {', '.join(known) or 'none'}"
    hint = f"did you mean {near[0]}?" if near else listed
    raise UsageError(f"there is no receiver {abbreviated(name, LONGEST_NAME)} ({hint})")


async def _try(
    configuration: Configuration, receiver: Receiver, resolve_after: float, masking: Masking | None
) -> list[Exchange]:
    """Send the test alert; print each exchange at once, if there is a way to hide secrets."""
    made = []
    async for exchange in Trial(partial(_client, configuration)).exchanges(receiver, resolve_after):
        made.append(exchange)
        if masking is not None:
            _print(exchange, receiver, masking)
    return made


def _client(configuration: Configuration, hooks: Hooks) -> WebhookClient:
    delivery = configuration.delivery
    return WebhookClient(
        Guard(delivery.allow_networks),
        allow_http=delivery.allow_http,
        user_agent=f"{PROGRAM}/{importlib.metadata.version(PROGRAM)}",
        hooks=hooks,
    )


# For people


def _print(exchange: Exchange, receiver: Receiver, masking: Masking) -> None:
    say(f"{receiver.name} ({receiver.kind}): {exchange.transition}")
    for request in exchange.requests:
        _print_request(request, masking)
    for said in exchange.conversation:
        _say_all("> " if said.sent else "< ", masking, said.text.splitlines() or [""])
    meaning = masking.hide(_meaning(exchange.outcome))
    for warning in exchange.outcome.warnings:
        say(masking.hide(warning))
    if exchange.accepted:
        say(f"{meaning}, in {exchange.seconds:.3f} s")
    else:
        print_error(f"receiver {receiver.name}: {meaning}")


def _print_request(request: SentRequest, masking: Masking) -> None:
    line, headers = _head(request.head)
    _say_all("> ", masking, [line, *(f"{name}: {value}" for name, value in headers), ""])
    _say_all("> ", masking, _text(request.body).split("\n"))
    if request.answer is not None:
        answer = request.answer
        _say_all("< ", masking, [_status(answer.status)])
        _say_all("< ", masking, [f"{name}: {value}" for name, value in answer.headers.items()])
        body = _body(answer, masking)
        if body:
            shown = body if len(body) <= LONGEST_BODY else f"{body[:LONGEST_BODY]}…"
            _say_all("< ", masking, ["", *shown.split("\n")])


def _say_all(mark: str, masking: Masking, lines: list[str]) -> None:
    for line in lines:
        say(mark + masking.hide(line))


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _meaning(outcome: Outcome) -> str:
    match outcome:
        case Delivered(status=status):
            return f"accepted with {status}"
        case Retry(reason=reason, retry_after=asked):
            wait = f", after the {asked:g} s that it asks for" if asked else ""
            return f"not accepted, {reason}; a worker would try again{wait}"
        case GiveUp(reason=reason):
            return f"not accepted, {reason}; a worker would give it up"
        case Disable(reason=reason):
            return f"not accepted, {reason}; a worker would disable the receiver"


# For programs


def _as_json(exchange: Exchange, masking: Masking) -> dict[str, object]:
    return {
        "transition": exchange.transition,
        "requests": [_request_as_json(each, masking) for each in exchange.requests],
        "conversation": [
            {"sent": each.sent, "text": masking.hide(each.text)} for each in exchange.conversation
        ],
        "accepted": exchange.accepted,
        "meaning": masking.hide(_meaning(exchange.outcome)),
        "seconds": round(exchange.seconds, 3),
        "warnings": [masking.hide(each) for each in exchange.outcome.warnings],
        "template_failures": [
            {"part": each.part, "reason": masking.hide(each.reason)} for each in exchange.failures
        ],
    }


def _request_as_json(request: SentRequest, masking: Masking) -> dict[str, object]:
    line, headers = _head(request.head)
    answer = request.answer
    return {
        "line": masking.hide(line),
        "headers": [[name, masking.hide(value)] for name, value in headers],
        "body": masking.hide(_text(request.body)),
        "answer": None
        if answer is None
        else {
            "status": answer.status,
            "headers": [[name, masking.hide(value)] for name, value in answer.headers.items()],
            "body": _body(answer, masking),
        },
    }


# Both


def _head(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    line, *rest = _text(head).removesuffix("\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in rest)]
    return line, headers


def _body(answer: Answer, masking: Masking) -> str:
    """Return the beginning of an answer's body; nothing of one that is compressed."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    return masking.hide_cut(_text(answer.excerpt))


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
