"""The tests, and what they are made with: `support`, `chaos`, `openapi`, `fuzz`."""

import pytest

# Assertions of the support say what differs, as those of tests do.
pytest.register_assert_rewrite("tests.support")
