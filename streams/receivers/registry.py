"""The kinds of receivers there are: one line each."""

from streams.receivers.alertmanager import AlertmanagerReceiver
from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.email import EmailReceiver
from streams.receivers.pagerduty import PagerDutyReceiver
from streams.receivers.receiver import Receiver
from streams.receivers.slack import SlackReceiver
from streams.receivers.webhook import WebhookReceiver

KINDS: tuple[type[Receiver], ...] = (
    WebhookReceiver,  # Standard Webhooks; the kind of a receiver that does not say its kind
    CloudEventsReceiver,  # CloudEvents over HTTP
    PagerDutyReceiver,  # PagerDuty's Events API v2
    SlackReceiver,  # an incoming webhook of Slack
    EmailReceiver,  # mails, by SMTP
    AlertmanagerReceiver,  # Prometheus' Alertmanager, API v2
)
