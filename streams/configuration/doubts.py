"""What a configuration may say but hardly means: told, not refused."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from streams.configuration.http import HttpSettings
from streams.configuration.models import Configuration, RuleSettings
from streams.configuration.routes import doubts_about_routes

_SLIP = 0.8
"""From this likeness on (1 is the same), a status in a group is taken for a slip, not a new one."""


def doubts(configuration: Configuration, now: datetime | None = None) -> list[str]:
    """Return one line for each doubt: odd statuses, silent workers, routes that lead nowhere.

    Tokens have expired by `now`, or by the present without it.

    Statuses of one's own are allowed, so a rule may watch any that is in a group, and a group may
    have any but those that look like a vendor's status which is in no group.
    """
    groups = configuration.statuses.by_group()
    of_format = configuration.source.event_format.known_statuses
    return [
        *_in_groups(groups, of_format),
        *_in_rules(configuration.rules, of_format.union(*groups.values())),
        *_between_workers(configuration.http),
        *_in_tls(configuration.http),
        *_in_tokens(configuration.http, now or datetime.now(UTC)),
        *doubts_about_routes(configuration.receivers, configuration.rules),
    ]


def _between_workers(http: HttpSettings) -> Iterator[str]:
    if http.advertised_url and not http.cluster_secrets and http.anonymous != "always":
        yield (
            "http.advertised_url is set and http.cluster_secrets is not: workers on other machines "
            "are not asked, so where there are several, answers lack what these hold"
        )


def _in_tokens(http: HttpSettings, now: datetime) -> Iterator[str]:
    for token in http.tokens:
        if token.expires_at is not None and token.expires_at <= now:
            yield (
                f"token {token.name} of http.tokens has expired at "
                f"{token.expires_at.isoformat()}: nobody gets in with it, take it away"
            )


def _in_tls(http: HttpSettings) -> Iterator[str]:
    if http.tls.certificate_file and (http.advertised_url or "").startswith("http://"):
        yield (
            "http.advertised_url begins with http:// and http.tls names a certificate: others "
            "cannot ask this worker without TLS"
        )


def _in_groups(groups: Mapping[str, tuple[str, ...]], of_format: frozenset[str]) -> Iterator[str]:
    left_out = of_format.difference(*groups.values())
    for group, statuses in groups.items():
        for status in statuses:
            if status not in of_format and (meant := _nearest(status, left_out, _SLIP)):
                yield (
                    f"statuses.{group} has {status}, and no group has {meant}: "
                    f"did you mean {meant}?"
                )


def _in_rules(rules: Iterable[RuleSettings], known: frozenset[str]) -> Iterator[str]:
    for rule in rules:
        for status in rule.statuses or ():
            if status not in known:
                meant = _nearest(status, known)
                hint = f"did you mean {meant}?" if meant else "if it is your own, add it to a group"
                yield f"rule {rule.name} watches {status}, which is no known status: {hint}"


def _nearest(status: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    # Sorted, so that of several the same is named each time.
    near = difflib.get_close_matches(status.upper(), sorted(known), n=1, cutoff=likeness)
    return next(iter(near), None)
