import sys
import time
from types import ModuleType

import pytest

from streams.engine.cluster.msk import MskTokenProvider

PACKAGE = "aws_msk_iam_sasl_signer"


class Signer(ModuleType):
    """Stands for the optional package: its tokens are numbered and live for `seconds`."""

    seconds = 900
    made = 0

    def generate_auth_token(self, region: str) -> tuple[str, int]:
        self.made += 1
        return f"{region}-{self.made}", int((time.time() + self.seconds) * 1000)


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Signer:
    signer = Signer("signer")
    monkeypatch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.MSKAuthTokenProvider", signer)
    return signer


@pytest.mark.usefixtures("signer")
async def test_a_token_is_used_again_while_it_is_valid() -> None:
    provider = MskTokenProvider("eu-west-1")
    assert [await provider.token(), await provider.token()] == ["eu-west-1-1", "eu-west-1-1"]


async def test_a_token_about_to_expire_is_made_anew(signer: Signer) -> None:
    signer.seconds = 30
    provider = MskTokenProvider("eu-west-1")
    assert [await provider.token(), await provider.token()] == ["eu-west-1-1", "eu-west-1-2"]
