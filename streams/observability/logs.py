"""Structured logs on standard error, as text or JSON, without secrets.

Records of libraries (Faust, aiokafka, aiohttp) go the same way as our own.
"""

import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from streams.configuration.schema import is_secret, keys_of
from streams.receivers.receiver import Receiver
from streams.receivers.registry import KINDS
from streams.settings import HIDDEN
from streams.terminal import printable, printable_json, printable_lines

_CHATTY = ("aiohttp", "aiokafka", "asyncio", "faust", "kafka", "mode")
_REPETITIVE = "aiokafka"
REPEAT_AFTER = 30.0
"""Seconds."""
_SECRET_WORDS = ("secret", "secrets", "password", "token", "tokens", "authorization")
"""A key that has one of these words names a secret, whoever logs it."""
_ASSIGNED_WORDS = ("password",)
"""What is assigned to one of these words in a text is a secret: `password='…'`, `password: …`."""
_SECRET_TEXTS = (
    (re.compile(r"(whsec|whsk)_[A-Za-z0-9+/=_-]+"), rf"\1_{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s'\",]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(://)[^/\s@]*@"), rf"\1{HIDDEN}@"),
)
# Long texts that have lines of their own.
_BLOCKS = frozenset({"event", "exception", "stack"})


class Sparing(logging.Filter):
    """Lets each message of a Kafka client about its broker through only now and then.

    A client that is cut off says so at every attempt, dozens of times a second; what it says first
    is enough. What was cancelled is no error at all. At level debug everything goes through.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._silent_until: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to let a record through."""
        if logging.getLogger().level <= logging.DEBUG:
            return True
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            # A cancelled task at shutdown: Faust's agents log that as a crash.
            return False
        if not record.name.startswith(_REPETITIVE):
            return True
        message = record.name, str(record.msg)
        now = self._clock()
        if now < self._silent_until.get(message, now):
            return False
        self._silent_until[message] = now + REPEAT_AFTER
        return True


def configure(
    level: str,
    format: str,  # noqa: A002 - called as the key is
    kinds: Iterable[type[Receiver]] = KINDS,
) -> None:
    """Send all logs of this process to standard error.

    Args:
        level: debug, info, warning, error or critical. Libraries are quiet below warning, unless
            it is debug.
        format: text or json. JSON has one object a line with `event`, `level`, `logger` and
            `timestamp` (RFC 3339, UTC).
        kinds: of receivers; the values of their secret settings are hidden.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redactor(secret_settings(kinds)),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers("json" if format == "json" else "text"),
            ],
        )
    )
    handler.addFilter(Sparing(time.monotonic))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quiet = logging.NOTSET if root.level <= logging.DEBUG else max(logging.WARNING, root.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made when modules are read, before anyone has called this.
        cache_logger_on_first_use=False,
    )


def secret_settings(kinds: Iterable[type[Receiver]]) -> frozenset[str]:
    """Return the settings, of receivers of these kinds, that hold a secret or a list of secrets."""
    return frozenset(
        key for kind in kinds for key, type_ in keys_of(kind).items() if is_secret(type_)
    )


class Redactor:
    """Hides values of keys that name secrets, and what looks like a secret in any text.

    Args:
        settings: names of settings that hold secrets: hidden as the value of a key that has the
            name in it, and in texts that assign the name a value.
    """

    def __init__(self, settings: Iterable[str]) -> None:
        words, assigned = {*_SECRET_WORDS, *settings}, {*_ASSIGNED_WORDS, *settings}
        self._key = re.compile(rf"(^|[_.-])({_any_of(words)})([_.-]|$)", re.IGNORECASE)
        assignment = re.compile(
            rf"(({_any_of(assigned)})['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,)}}]+)",
            re.IGNORECASE,
        )
        self._texts = (*_SECRET_TEXTS, (assignment, rf"\1{HIDDEN}"))

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return the record without secrets: a processor of structlog."""
        return {key: self._without_secrets(key, value) for key, value in event.items()}

    def _without_secrets(self, key: object, value: Any) -> Any:
        if (
            isinstance(key, str)
            and self._key.search(key)
            and isinstance(value, str | bytes | list | tuple | dict)
        ):
            return HIDDEN
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        if isinstance(value, str):
            for pattern, replacement in self._texts:
                value = pattern.sub(replacement, value)
            return value
        if isinstance(value, Mapping):
            return {each: self._without_secrets(each, inner) for each, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._without_secrets(None, inner) for inner in value]
        if isinstance(value, BaseException):
            return self._without_secrets(None, repr(value))
        return value


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words, with `_`, `-` or `.` between the parts of each."""
    return "|".join("[_.-]".join(map(re.escape, word.split("_"))) for word in sorted(words))


def _renderers(format: Literal["text", "json"]) -> list[Processor]:  # noqa: A002
    if format == "json":
        return [structlog.processors.JSONRenderer(serializer=_dumps)]
    return [
        _one_line,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default prints local variables, and passwords with them.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep control characters of campaign ids and the like away from the terminal."""
    return {
        key: _write_out(key, value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _write_out(key: str, value: str) -> str:
    return printable_lines(value) if key in _BLOCKS else printable(value)


def _dumps(event: Any, **_: Any) -> str:
    options = orjson.OPT_NON_STR_KEYS
    try:
        return printable_json(orjson.dumps(event, default=str, option=options).decode())
    except TypeError:
        # Numbers beyond 64 bits, and text that is no valid Unicode.
        return json.dumps(event, default=str)
