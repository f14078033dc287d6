"""The kinds of receivers there are: one line each."""

from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.receiver import Receiver
from streams.receivers.webhook import WebhookReceiver

KINDS: tuple[type[Receiver], ...] = (
    WebhookReceiver,  # Standard Webhooks; the kind of a receiver that does not say its kind
    CloudEventsReceiver,  # CloudEvents over HTTP
)
