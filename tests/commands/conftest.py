"""What a server says that runs in the process of a command's test is none of its output."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.api.conftest import lists_read_anew

__all__ = ["lists_read_anew"]  # a fixture


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield
