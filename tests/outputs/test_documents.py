"""Documents say of the topics what the registry says."""

import pytest

from tests.support.documents import DERIVED, ROOT, derived


@pytest.mark.parametrize("path", DERIVED)
def test_what_is_derived_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text("utf-8") == derived(path), "run `make documents`"
