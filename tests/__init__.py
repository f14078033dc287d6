"""The tests; the tree mirrors `streams`. What they are made with is in `support`."""

import pytest

# Assertions of the support say what differs, as those of tests do.
pytest.register_assert_rewrite("tests.support")
