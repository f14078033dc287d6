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
from streams.receivers.texts import Texts, happened
from streams.terminal import abbreviated, printable, printable_lines

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
    ":root{color-scheme:light dark}"
    "body{margin:0;padding:0;font:15px/1.45 -apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
    "sans-serif;color:#1f2328;background:#ffffff}"
    ".page{max-width:600px;margin:0 auto;padding:20px 16px}"
    ".state{display:inline-block;padding:2px 10px;border-radius:12px;color:#ffffff;font-size:13px;"
    "font-weight:bold}"
    "h1{font-size:20px;line-height:1.3;margin:10px 0 8px}"
    "h1,.text,th,td{overflow-wrap:anywhere}"
    ".text{margin:0 0 16px}"
    "table{width:100%;table-layout:fixed;border-collapse:collapse}"
    "th,td{text-align:left;vertical-align:top;padding:7px 0;border-top:1px solid #d8dee4}"
    "th{width:32%;padding-right:12px;font-weight:normal;color:#59636e}"
    ".links a{display:inline-block;margin:0 8px 8px 0;padding:8px 14px;border:1px solid #8c959f;"
    "border-radius:6px;text-decoration:none;font-weight:bold;color:#0969da}"
    ".links{margin:16px 0 0}"
    ".foot{margin:12px 0 0;font-size:12px;color:#59636e}"
    "@media (prefers-color-scheme:dark){"
    "body{color:#e6edf3;background:#0d1117}"
    "th,.foot{color:#9198a1}"
    "th,td{border-color:#3d444d}"
    ".links a{color:#58a6ff;border-color:#656c76}}"
)
"""Of programs that read styles; without it the same stands there in the same order."""

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


class Link(NamedTuple):
    """Where there is more, and what it is called."""

    name: str
    url: str


def built_in_texts(data: AlertData) -> Texts:
    """Return subject and text of the mails of an alert; the subject is the same in all of them."""
    return Texts(_subject(data), _line(data.summary, LONGEST_SUMMARY))


def message_of(delivery: Delivery, texts: Texts, sender: str, recipients: Sequence[str]) -> bytes:
    """Return the message of a delivery, the same in each attempt, to the byte.

    The first transition of an alert begins a thread; the others answer it, with the same subject
    unless a template makes it another one: some programs take that for another thread. What
    happened stands in the text.

    Args:
        delivery: what is told.
        texts: subject and text.
        sender: an address; its domain is that of the ids of messages.
        recipients: addresses.
    """
    transition = transitions.decode(delivery.transition)
    domain = sender.rpartition("@")[2]
    first = _message_id(delivery.alert_id, 1, domain)
    message = EmailMessage(policy=_POLICY)
    message["From"] = f"campaign-streams <{sender}>"
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromisoformat(transition.timestamp))
    message["Message-ID"] = _message_id(delivery.alert_id, delivery.sequence, domain)
    subject = printable(texts.title).replace("=?", "= ?")
    if delivery.sequence > 1:
        message["In-Reply-To"] = message["References"] = first
        subject = f"Re: {subject}"
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"
    text = printable_lines(texts.text)
    message.set_content(_text(transition, text), cte="quoted-printable")
    message.add_alternative(_html(transition, text), subtype="html", cte="quoted-printable")
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
    return _line(f"{data.rule} ({data.severity}): {', '.join(about)}", LONGEST_SUBJECT)


def _rule(data: AlertData) -> str:
    return _line(f"{data.rule} ({data.severity})", LONGEST_NAME)


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


def _links(data: AlertData) -> Iterator[Link]:
    if data.links is not None:
        links = data.links
        named_ones = {
            "Alert": links.alert_page,
            "Campaign page": links.campaign_page,
            "JSON": links.alert,
        }
        for name, url in named_ones.items():
            if url and len(url) <= LONGEST_LINK:
                yield Link(name, printable(url))


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


def _text(transition: Transition, text: str) -> str:
    data = transition.data
    lines = [f"{happened(transition)}: {_rule(data)}", "", text, ""]
    lines += [f"{row.name}: {row.value}" for row in _rows(data)]
    lines += [f"{link.name}: {link.url}" for link in _links(data)]
    return "\n".join([*lines, "", _footer(transition), ""])


def _html(transition: Transition, text: str) -> str:
    data = transition.data
    state, rule = happened(transition), escape(_rule(data))
    state_style = f"color:#ffffff;background:{COLOURS[transition.type]}"
    lines = escape(text).replace("\n", "<br>")
    table = [
        f'<tr><th scope="row">{escape(row.name)}</th><td>{escape(row.value)}</td></tr>'
        for row in _rows(data)
    ]
    links = [f'<a href="{escape(link.url)}">{link.name}</a>' for link in _links(data)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{state}: {rule}</title>",
            f'<style>{STYLE}</style></head><body><div class="page">',
            f'<span class="state" style="{state_style}">{state}</span>',
            f"<h1>{rule}</h1>",
            f'<p class="text">{lines}</p>',
            "<table>",
            *table,
            "</table>",
            *([f'<p class="links">{" ".join(links)}</p>'] if links else []),
            f'<p class="foot">{escape(_footer(transition))}</p>',
            "</div></body></html>",
            "",
        ]
    )


def _footer(transition: Transition) -> str:
    return f"{transition.timestamp}, transition {transition.data.sequence} of the alert"
