"""The message that the kind `email` sends before a silence ends: text and HTML.

What people wrote into the silence is on one line, printable and shortened; HTML is escaped.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from streams.domain.deliveries import Delivery
from streams.domain.silence_events import SilenceEvent
from streams.receivers.email_message import (
    LONGEST_LINK,
    LONGEST_NAME,
    LONGEST_SUBJECT,
    LONGEST_SUMMARY,
    STYLE,
)
from streams.terminal import abbreviated, printable

TITLE = "A silence ends soon"
_POLICY = SMTP.clone(cte_type="7bit")


def silence_message_of(
    delivery: Delivery, event: SilenceEvent, sender: str, recipients: Sequence[str]
) -> bytes:
    """Return the message of a delivery, the same in each attempt, to the byte.

    Args:
        delivery: of the event.
        event: that a silence ends.
        sender: an address; its domain is that of the message's id.
        recipients: addresses.
    """
    digest = hashlib.sha256(delivery.webhook_id.encode()).hexdigest()[:32]
    message = EmailMessage(policy=_POLICY)
    message["From"] = f"campaign-streams <{sender}>"
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromisoformat(event.timestamp))
    message["Message-ID"] = f"<silence.{digest}@{sender.rpartition('@')[2]}>"
    about = _line(f"{TITLE}: {', '.join(event.data.matchers)}", LONGEST_SUBJECT)
    # No encoded words (RFC 2047) of what people wrote: the parser of headers would decode them.
    message["Subject"] = about.replace("=?", "= ?")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(event), cte="quoted-printable")
    message.add_alternative(_html(event), subtype="html", cte="quoted-printable")
    message.set_boundary(f"=_{digest}")
    return message.as_bytes()


def _rows(event: SilenceEvent) -> dict[str, str]:
    data = event.data
    rows = {
        "Alerts that match": ", ".join(data.matchers),
        "Ends": data.ends_at,
        "Alerts that fire": f"{data.alerts:,}",
        "Made by": data.created_by,
        "Comment": data.comment,
    }
    return {name: _line(value, LONGEST_NAME) for name, value in rows.items()}


def _link(event: SilenceEvent) -> str | None:
    """Return the URL of the silence, if there is one that can be shown."""
    links = event.data.links
    if links is None:
        return None
    url = links.page or links.silence
    return printable(url) if len(url) <= LONGEST_LINK else None


def _text(event: SilenceEvent) -> str:
    link = _link(event)
    lines = [TITLE, "", _line(event.data.summary, LONGEST_SUMMARY), ""]
    lines += [f"{name}: {value}" for name, value in _rows(event).items()]
    lines += [f"Silence at: {link}"] if link is not None else []
    return "\n".join([*lines, "", event.timestamp, ""])


def _html(event: SilenceEvent) -> str:
    rows = {name: escape(value) for name, value in _rows(event).items()}
    link = _link(event)
    if link is not None:
        rows["Silence at"] = f'<a href="{escape(link)}">{escape(link)}</a>'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{TITLE}</title>",
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{TITLE}</h1>",
            f"<p>{escape(_line(event.data.summary, LONGEST_SUMMARY))}</p>",
            "<table>",
            *(f'<tr><th scope="row">{name}</th><td>{row}</td></tr>' for name, row in rows.items()),
            "</table>",
            f"<p><small>{escape(event.timestamp)}</small></p>",
            "</body></html>",
            "",
        ]
    )


def _line(text: str, most: int) -> str:
    return abbreviated(printable(text), most)
