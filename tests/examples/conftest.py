"""The example programs, started once for each test file."""

import os
from collections.abc import Iterator

import pytest

from tests.support.examples import Example, example_in, why_missing


@pytest.fixture(scope="module")
def example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """The program in the language that the test is parametrized with."""
    language: str = request.param
    missing = why_missing(language)
    if missing is not None:
        if os.environ.get("REQUIRE_EXAMPLES") == "1":
            pytest.fail(f"REQUIRE_EXAMPLES=1, but {missing}")
        pytest.skip(missing)
    program = example_in(language, tmp_path_factory.mktemp(language))
    yield program
    program.close()
