"""The message that the kind `email` sends: a transition as text and HTML, in its alert's thread.

Sources: RFC 5322 (3.6.4 for what makes a thread), RFC 2046 (5.1.4: text first, HTML last), RFC 3834
(`Auto-Submitted`).

Names come from events, so from anybody. Each is on one line, printable and shortened before it gets
anywhere; HTML is escaped. A subject holds no encoded words (RFC 2047) of a name either: Python's
parser of headers would decode them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.headerregistry import HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import NamedTuple
from urllib.parse import quote

from streams.domain import transitions
from streams.domain.deliveries import Delivery
from streams.domain.transitions import (
    AlertData,
    Explanation,
    Transition,
    TransitionType,
    named,
)
from streams.receivers.texts import TITLES
from streams.terminal import abbreviated, printable

LONGEST_NAME = 200
"""Characters of a name, an id or a status."""
LONGEST_SUMMARY = 1000
LONGEST_SUBJECT = 120
LONGEST_LINK = 2000
"""Characters of a URL that is linked: it holds the id of a campaign, and that may be long."""
MOST_LABELS = 50
MOST_STATUSES = 5

COLOURS: Mapping[TransitionType, str] = {
    "campaign.alert.firing": "#b3261e",
    "campaign.alert.reminder": "#b3261e",
    "campaign.alert.acknowledged": "#8a5a00",
    "campaign.alert.resolved": "#1b6e3c",
    "campaign.alert.expired": "#5f6368",
}
STYLE = (
    "body{font:14px sans-serif}h1{font-size:18px}"
    "th,td{text-align:left;vertical-align:top;padding:2px 16px 2px 0}"
    "th{font-weight:normal;opacity:.7}"
)

DIMENSIONS = {
    "channel_type": "channel",
    "treatment_id": "treatment",
    "delivery_type": "delivery type",
}

_registry = HeaderRegistry()
# Folded as they are: any other header's long words become encoded words, which are no ids.
for _name in ("in-reply-to", "references"):
    _registry.map_to_type(_name, MessageIDHeader)  # type: ignore[arg-type]  # becomes a BaseHeader
_POLICY = SMTP.clone(header_factory=_registry, cte_type="7bit")


class Row(NamedTuple):
    """A figure or a name, on one line."""

    name: str
    value: str
    url: str | None = None


def message_of(delivery: Delivery, sender: str, recipients: Sequence[str]) -> bytes:
    """Return the message of a delivery, the same in each attempt, to the byte.

    The first transition of an alert begins a thread; the others answer it, with the same subject,
    as some programs take another subject for another thread. What happened stands in the text.

    Args:
        delivery: what is told.
        sender: an address; its domain is that of the ids of messages.
        recipients: addresses.
    """
    transition = transitions.decode(delivery.transition)
    data = transition.data
    domain = sender.rpartition("@")[2]
    first = _message_id(delivery.alert_id, 1, domain)
    message = EmailMessage(policy=_POLICY)
    message["From"] = f"campaign-streams <{sender}>"
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromisoformat(transition.timestamp))
    message["Message-ID"] = _message_id(delivery.alert_id, delivery.sequence, domain)
    subject = _subject(data)
    if delivery.sequence > 1:
        message["In-Reply-To"] = message["References"] = first
        subject = f"Re: {subject}"
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"
    rows = list(_rows(data))
    message.set_content(_text(transition, rows), cte="quoted-printable")
    message.add_alternative(_html(transition, rows), subtype="html", cte="quoted-printable")
    message.set_boundary("=_" + hashlib.sha256(delivery.webhook_id.encode()).hexdigest()[:32])
    return message.as_bytes()


def _message_id(alert_id: str, sequence: int, domain: str) -> str:
    return f"<{quote(alert_id, safe='')}.{sequence}@{domain}>"


def _subject(data: AlertData) -> str:
    about = [f"campaign {data.campaign_name or data.campaign_id}"]
    if data.treatment_id is not None:
        about.append(f"treatment {data.treatment_id}")
    if data.channel_type is not None:
        about.append(f"channel {data.channel_type}")
    subject = _line(f"{data.rule} ({data.severity}): {', '.join(about)}", LONGEST_SUBJECT)
    return subject.replace("=?", "= ?")


def _title(transition: Transition) -> str:
    data = transition.data
    return _line(f"{TITLES[transition.type]}: {data.rule} ({data.severity})", LONGEST_NAME)


def _rows(data: AlertData) -> Iterator[Row]:
    about = {
        "Campaign": named(data.campaign_id, data.campaign_name),
        "App": data.app_id and named(data.app_id, data.app_name),
        "Treatment": data.treatment_id,
        "Channel": data.channel_type,
    }
    for name, value in about.items():
        if value is not None:
            yield _row(name, value)
    seen, peak, totals = data.evidence, data.peak, data.totals
    yield Row("Window", f"{data.window.start} to {data.window.end}")
    yield Row("Hits of attempts", _rate(seen.hits, seen.attempts, seen.rate))
    yield Row("Peak", _rate(peak.hits, peak.attempts, peak.rate))
    yield Row("In all", f"{_rate(totals.hits, totals.attempts, totals.rate)} since {totals.since}")
    yield Row("Began", data.starts_at)
    if data.ends_at is not None:
        yield Row("Ended", data.ends_at)
    if data.explanation is not None:
        yield from _explained(data.explanation)
    for name, value in list(data.labels.items())[:MOST_LABELS]:
        yield _row(f"Label {name}", value)
    if data.links is not None:
        for name, url in (("Alert", data.links.alert), ("Windows", data.links.windows)):
            if len(url) <= LONGEST_LINK:
                yield Row(f"{name} at", printable(url), printable(url))


def _explained(explanation: Explanation) -> Iterator[Row]:
    """Say which slice the excess is in, if there is one, and which statuses it has."""
    if explanation.slice is not None:
        part = explanation.slice
        slices = [
            f"{DIMENSIONS[name]} {'none' if value is None else value}"
            for name, value in part.dimensions.items()
        ]
        figures = _rate(part.hits, part.attempts, part.rate)
        yield _row(f"{part.share:.0%} of the excess", ", ".join(slices))
        yield Row("There", f"{figures}, usual {part.usual_rate:.1%}")
    for status in explanation.statuses[:MOST_STATUSES]:
        yield _row(f"{status.share:.0%} by status", status.status)


def _row(name: str, value: str) -> Row:
    return Row(_line(name, LONGEST_NAME), _line(value, LONGEST_NAME))


def _line(text: str, most: int) -> str:
    return abbreviated(printable(text), most)


def _rate(hits: int, attempts: int, rate: float) -> str:
    return f"{hits:,} of {attempts:,} ({rate:.1%})"


def _text(transition: Transition, rows: Sequence[Row]) -> str:
    lines = [_title(transition), "", _line(transition.data.summary, LONGEST_SUMMARY), ""]
    lines += [f"{row.name}: {row.value}" for row in rows]
    return "\n".join([*lines, "", _footer(transition), ""])


def _html(transition: Transition, rows: Sequence[Row]) -> str:
    title, summary = escape(_title(transition)), _line(transition.data.summary, LONGEST_SUMMARY)
    table = [
        f'<tr><th scope="row">{escape(row.name)}</th><td>{_value(row)}</td></tr>' for row in rows
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style></head><body>",
            f'<h1 style="color:{COLOURS[transition.type]}">{title}</h1>',
            f"<p>{escape(summary)}</p>",
            "<table>",
            *table,
            "</table>",
            f"<p><small>{escape(_footer(transition))}</small></p>",
            "</body></html>",
            "",
        ]
    )


def _value(row: Row) -> str:
    if row.url is None:
        return escape(row.value)
    return f'<a href="{escape(row.url)}">{escape(row.value)}</a>'


def _footer(transition: Transition) -> str:
    return f"{transition.timestamp}, transition {transition.data.sequence} of the alert"
