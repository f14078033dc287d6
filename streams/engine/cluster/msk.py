"""Authentication to AWS MSK: tokens signed with an IAM identity."""

import asyncio
import importlib
import time

from aiokafka.abc import AbstractTokenProvider

from streams.errors import UserError

_MODULE = "aws_msk_iam_sasl_signer.MSKAuthTokenProvider"
_INSTALL = "pip install aws-msk-iam-sasl-signer-python"
# A token that expires while it travels is refused, so a new one is made a little sooner.
_TOKEN_SPARE_SECONDS = 60.0


class MskTokenProvider(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """Tokens for AWS MSK with IAM, of the credentials that the AWS SDK finds.

    Raises:
        UserError: the package that signs them is not installed.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._token, self._expires_at = "", 0.0
        try:
            self._signer = importlib.import_module(_MODULE)
        except ImportError:
            raise UserError(
                f"kafka.sasl.mechanism OAUTHBEARER (AWS MSK IAM) needs a package: {_INSTALL}"
            ) from None

    async def token(self) -> str:
        """Return a token that is still valid for a while, a new one if need be."""
        if time.time() > self._expires_at - _TOKEN_SPARE_SECONDS:
            # The AWS SDK may ask the network for credentials, and it blocks.
            self._token, expires_ms = await asyncio.to_thread(
                self._signer.generate_auth_token, self._region
            )
            self._expires_at = expires_ms / 1000
        return self._token
