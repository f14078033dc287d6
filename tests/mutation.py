"""Mutation testing of modules of `streams/domain`: their code is changed, one place at a time.

    python -m tests.mutation windows receivers

Each change is a run of the module's own tests, in a copy of the project; one that no test notices
is printed as it survived. Without a module all are changed that have tests of their own, which
takes hours. Cosmic Ray makes the changes; types are left alone, as nothing reads them at run time.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PARTS = ("streams", "tests", "config")
BIN = Path(sys.executable).parent
TEST_TIMEOUT_S = 300.0
SETTINGS = """
[cosmic-ray]
module-path = "streams/domain/{module}.py"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/ReplaceBinaryOperator_BitOr_.*"]
"""


def modules() -> list[str]:
    """Return the modules that have tests of their own."""
    found = sorted((PROJECT / "streams" / "domain").glob("*.py"))
    return [each.stem for each in found if _tests_of(each.stem).exists()]


def _tests_of(module: str) -> Path:
    return PROJECT / "tests" / "domain" / f"test_{module}.py"


def mutate(module: str, directory: Path) -> None:
    """Test the changes of one module in a copy of the project; print what survived.

    Raises:
        subprocess.CalledProcessError: if the tests fail without any change.
    """
    for part in PARTS:
        shutil.copytree(PROJECT / part, directory / part, dirs_exist_ok=True)
    shutil.copy(PROJECT / "pyproject.toml", directory)
    tests = _tests_of(module).relative_to(PROJECT)
    settings = SETTINGS.format(
        module=module, timeout=TEST_TIMEOUT_S, python=sys.executable, tests=tests
    )
    file, session = directory / f"{module}.toml", directory / f"{module}.sqlite"
    file.write_text(settings)
    for command in (
        ("cosmic-ray", "baseline", file),
        ("cosmic-ray", "init", file, session),
        ("cr-filter-operators", session, file),
        ("cosmic-ray", "exec", file, session),
        ("cr-report", "--surviving-only", "--show-diff", session),
    ):
        name, *arguments = command
        subprocess.run([BIN / name, *arguments], cwd=directory, check=True)


def main() -> None:
    """Change the modules that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutations.")
    parser.add_argument("modules", nargs="*", choices=[[], *modules()], help="of streams/domain")
    for module in parser.parse_args().modules or modules():
        sys.stdout.write(f"=== streams/domain/{module}.py\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as directory:
            mutate(module, Path(directory))


if __name__ == "__main__":
    main()
