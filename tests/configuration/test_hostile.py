"""Configuration that would take for ever, or all memory: refused in one line."""

import itertools
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.configuration.load import load
from streams.errors import ConfigurationError

ROOM = 512 * 1024 * 1024
DIGITS = "9" * 6000


def laughs() -> str:
    names = [f"n{number}" for number in range(10)]
    lines = [f"{names[0]}: &{names[0]} [ha]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What takes without bound fails with a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def problems_of(file: Path | None, **overrides: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value).split("\n")


TEXTS = {
    "open": "rules: " + "[" * 50_000,
    "closed": "rules: " + "[" * 2_000 + "]" * 2_000,
    "flow mappings": "rules: " + "{a: " * 5_000,
    "blocks": "".join("  " * depth + "a:\n" for depth in range(300)),
    "dashes": "rules: " + "\n" + "- " * 3_000,
    "itself": "rules: &a [*a]",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_nested_too_deep(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(text, "utf-8")
    (problem,) = problems_of(file)
    assert problem.startswith(f"{file}:")
    assert "is nested more than 32 deep" in problem
    if "\n" not in text:
        (problem,) = problems_of(None, rules=text.removeprefix("rules: "))
        assert "command line rules: is nested more than 32 deep" in problem


def test_aliases_of_aliases(tmp_path: Path) -> None:
    file = tmp_path / "laughs.yaml"
    file.write_text(laughs(), "utf-8")
    (problem,) = problems_of(file)
    assert problem == f"{file}:1: has more than 50,000 values up to here"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("http.port", DIGITS, "expected a whole number"),
        ("topics.partitions", DIGITS, "expected a whole number"),
        ("topics.partitions", "9" * 50, "expected"),
        ("windows.size", DIGITS, "expected a duration"),
        ("windows.size", DIGITS + "s", "expected a duration"),
        ("windows.size", "0." + DIGITS, "expected a duration"),
        ("kafka.session_timeout", "25d", "at most 24d"),
        ("windows.retention", "1e300", "at most 1000000d"),
        (f"rules[{DIGITS}].name", "a", "is not known"),
        (f"http.{DIGITS}", "a", "is not known"),
        (".".join(["a"] * 5_000), "a", "is not known"),
    ],
)
def test_long_numbers_and_names(key: str, value: str, expected: str, tmp_path: Path) -> None:
    (problem,) = problems_of(None, **{key: value})
    assert expected in problem
    assert len(problem) < 500
    if "[" not in key and len(key) < 100:
        section, name = key.split(".")
        file = tmp_path / "long.yaml"
        file.write_text(f"{section}: {{{name}: {value}}}", "utf-8")
        (problem,) = problems_of(file)
        assert expected in problem
        assert len(problem) < 500


SETTINGS = {
    "include": "include: {file}",
    "password": "kafka: {{sasl: {{mechanism: PLAIN, username: a, password_file: {file}}}}}",
    "ca": "kafka: {{tls: {{enabled: true, ca_file: {file}}}}}",
    "secrets": "receivers: [{{name: a, url: 'https://h/', secrets_file: {file}}}]",
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_files_that_are_none(setting: str, tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe", tmp_path / "huge"
    os.mkfifo(pipe)
    with huge.open("wb") as stream:
        stream.truncate(3 << 30)
    file = tmp_path / "my.yaml"
    for other in (Path("/dev/zero"), pipe, huge, tmp_path):
        file.write_text(setting.format(file=other), "utf-8")
        (problem,) = problems_of(file)
        assert str(other) in problem


def test_a_configuration_that_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert problems_of(pipe) == [f"{pipe}: is a pipe that nobody writes to"]
    (problem,) = problems_of(Path("/dev/zero"))
    assert "is larger than 1024 KiB" in problem


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def write(stream: int) -> None:
        os.write(stream, b"http:\n")
        threading.Event().wait(0.3)
        os.write(stream, b"  port: 9090\n")
        os.close(stream)

    writer = threading.Thread(target=write, args=(os.open(pipe, os.O_WRONLY),))
    writer.start()
    os.close(reader)
    assert load(pipe, {}, {}).http.port == 9090
    writer.join()


def test_many_problems_are_not_all_listed(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("".join(f"key{number}: 1\n" for number in range(2_000)), "utf-8")
    problems = problems_of(file)
    assert len(problems) == 51
    assert problems[-1] == "there are more problems"
