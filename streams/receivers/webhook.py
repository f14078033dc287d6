"""`webhook`: a POST with the transition as JSON, signed after Standard Webhooks 1.0.0."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from streams.domain.deliveries import Delivery
from streams.receivers.grouped import GroupedReceiver
from streams.receivers.receiver import Request
from streams.receivers.signing import check_secret, signed_headers
from streams.settings import Secret


def _checked(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value())
    return secret


class WebhookReceiver(GroupedReceiver):
    """Gets transitions as they are on the alerts topic.

    Attributes:
        secrets: `whsec_…`, which the receiver has too, or `whsk_…`, an ed25519 private key of which
            the receiver has the public one; several while one is rotated, also of both schemes, and
            one signature for each.
    """

    example: ClassVar[str] = """\
- name: ops
  kind: webhook                        # signed after the Standard Webhooks specification
  url: https://alerts.example.com/campaigns
  secrets_file: /run/secrets/ops       # or secrets: [whsec_…, whsk_…]; one a line, several while one is rotated
  timeout: 10s
  group_by: cause                      # alerts with a common cause are one notification; [app_id, rule]: by labels; none: one for each
  group_wait: 5s                       # how long an alert that may have others with it waits, and a group
  group_interval: 1m                   # between two notifications about a group, at least
  rate_limit: null                     # 30/1m: more than that from one worker are told in a summary
  matchers: []                         # [severity="critical"]: only alerts that all of them match
"""  # noqa: E501 - lines of the example file

    told_of_receivers: ClassVar[bool] = True
    told_of_silences: ClassVar[bool] = True

    kind: Literal["webhook"] = "webhook"
    secrets: tuple[Annotated[Secret, AfterValidator(_checked)], ...] = Field(min_length=1)

    def render(self, delivery: Delivery, now: float) -> Request:
        """Return a POST of the transition."""
        body = bytes(delivery.transition)
        secrets = [secret.get_secret_value() for secret in self.secrets]
        headers = {
            "Content-Type": "application/json",
            **signed_headers(delivery.webhook_id, int(now), body, secrets),
        }
        return Request("POST", self.url, headers, body)
