"""What documents say of topics, receivers, detectors and metrics: derived from the registries.

`make documents` writes it anew. Such a part stands between two lines that name it; whatever is
between them is derived.
"""

import re
from collections.abc import Callable, Mapping
from inspect import cleandoc
from pathlib import Path

import orjson

from streams.domain.detectors.detector import Detector
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import Field, fields
from streams.observability.metrics import Metrics
from streams.outputs.registry import TOPICS
from streams.outputs.topics import Topic
from streams.receivers.registry import KINDS
from streams.settings import format_duration

ROOT = Path(__file__).parents[2]
COMMENT_AT = 39
"""The column of comments in the example configuration."""
TYPE_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text"}
KINDS_GOLDEN = "tests/receivers/golden"
_ALERTS, _GROUPS = "tests/domain/golden", "tests/domain/causes/golden"
TOLD: Mapping[str, str] = {
    **{
        name: f"{_ALERTS}/{name}.json"
        for name in (
            *("firing", "reminder", "acknowledged", "resolved", "expired", "reopened"),
            *("receiver-failing", "receiver-recovered", "receiver-disabled"),
        )
    },
    **{
        f"group-{name}": f"{_GROUPS}/{name}.json"
        for name in ("firing", "updated", "reminder", "resolved")
    },
}
"""The golden files of what receivers are told, by the name that the files of all kinds have."""
ACLS = "$ kafka-acls.sh --bootstrap-server $SERVER --add --allow-principal User:campaign-streams"


def _example() -> str:
    """The keys of the section `topics` that name topics."""
    return "\n".join(map(_key, TOPICS))


def _key(topic: Topic) -> str:
    setting = f"  {topic.role}: {topic.default or 'null'}"
    return f"{setting:{COMMENT_AT}}  # {topic.holds}"


def _receivers() -> str:
    """An item of `receivers` of each kind, commented out."""
    lines = "".join(kind.example for kind in KINDS).splitlines()
    return "\n".join(f"# {line}" for line in lines)


def _other_detectors() -> str:
    """A section `detector` of each kind but the default, commented out."""
    lines: list[str] = []
    for detector in DETECTORS[1:]:
        summary = _about(detector)[0].rstrip(".")
        lines += ["    # detector:", _remark("kind", detector.kind, summary)]
        made = detector()
        lines += [
            _remark(each.name, _written(each, getattr(made, each.name)), _meaning(each))
            for each in fields(detector)
        ]
    return "\n".join(lines)


def _meaning(field: Field) -> str:
    about = field.setting
    return f"{about.text}; {about.default} if left out" if about.default else about.text


def _remark(key: str, value: str, comment: str) -> str:
    setting = f"    #   {key}: {value}"
    return f"{setting:{COMMENT_AT}}  # {comment}"


def _detectors() -> str:
    """A chapter about each kind of detector, with a table of its settings."""
    return "\n".join([*map(_chapter, DETECTORS), ""])


def _chapter(detector: type[Detector]) -> str:
    rows = [
        f"| `{each.name}` | {_default(each)} | {_allowed(each)} | {each.setting.text} |"
        for each in fields(detector)
    ]
    head = ("| setting | default | allowed | meaning |", "|---|---|---|---|")
    title = f"## `{detector.kind}`"
    return "\n".join(["", title, "", *_about(detector), "", *head, *rows])


def _about(detector: type[Detector]) -> list[str]:
    return cleandoc(detector.__doc__ or "").splitlines()


def _default(field: Field) -> str:
    return field.setting.default or f"`{_written(field, field.default)}`"


def _allowed(field: Field) -> str:
    about = field.setting
    bounds = [
        f"{words} {_written(field, bound)}"
        for words, bound in (
            ("from", about.least),
            ("above", about.above),
            ("to", about.most),
            ("below", about.below),
        )
        if bound is not None
    ]
    return f"{TYPE_NAMES[field.type]} {', '.join(bounds)}".rstrip()


def _written(field: Field, value: float | str) -> str:
    if field.setting.unit == "seconds" and isinstance(value, float | int):
        return format_duration(value)
    return str(value)


def _rights() -> str:
    """A table of what a worker may do with topics, and the commands that grant it."""
    rows = [f"| {', '.join(topic.rights)} | {_named(topic)} | {topic.holds} |" for topic in TOPICS]
    commands = [
        f"{ACLS}{_operations(topic)} --topic {topic.default}" for topic in TOPICS if topic.default
    ]
    return "\n".join(
        [
            "",
            *("| right | on | which holds |", "|---|---|---|"),
            *rows,
            "",
            *("```console", *commands, "```"),
            "",
        ]
    )


def _named(topic: Topic) -> str:
    if topic.default is None:
        return f"the topic that `{topic.setting}` names, if it names one"
    return f"topic `{topic.default}` (`{topic.setting}`)"


def _operations(topic: Topic) -> str:
    names = [*(right.capitalize() for right in topic.rights), "DescribeConfigs"]
    return "".join(f" --operation {name}" for name in names)


def _metrics() -> str:
    """A table of the metrics."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} "
        f"| {each.about} |".replace("|  |", "| |")
        for each in sorted(Metrics("").families.made)
    ]
    return "\n".join(["", "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])


def _file(path: str, language: str) -> Callable[[], str]:
    """A file, word for word."""

    def part() -> str:
        text = (ROOT / path).read_text("utf-8")
        return "\n".join(["", f"[{path}](../{path}):", "", f"```{language}", f"{text}```", ""])

    return part


def _bodies() -> str:
    """A table of all types, with the golden file of each kind that is sent it."""
    rows = [f"| {_native(name)} | {_others(name)} |" for name in TOLD]
    return "\n".join(["", "| body of a `webhook` | of others |", "|---|---|", *rows, ""])


def _native(name: str) -> str:
    path = TOLD[name]
    kind = orjson.loads((ROOT / path).read_bytes())["type"]
    note = " of an alert that came back" if name == "reopened" else ""
    return f"[`{kind}`](../{path}){note}"


def _others(name: str) -> str:
    # Others are rendered all the same, so there are files of that.
    takes = {
        str(kind.model_fields["kind"].default)
        for kind in KINDS
        if kind.takes_acknowledgements or name != "acknowledged"
    }
    files = {
        path.stem.removesuffix(f"-{name}"): path.relative_to(ROOT).as_posix()
        for path in (ROOT / KINDS_GOLDEN).glob(f"*-{name}.*")
    }
    return ", ".join(
        f"[{kind}](../{path})" for kind, path in sorted(files.items()) if kind in takes
    )


DERIVED: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "config/campaign-streams.yaml": {
        "topics": _example,
        "receivers": _receivers,
        "detectors": _other_detectors,
    },
    "docs/acls.md": {"rights on topics": _rights},
    "docs/detectors.md": {"detectors": _detectors},
    "docs/metrics.md": {"metrics": _metrics},
    "docs/receivers.md": {
        "bodies": _bodies,
        "firing": _file("tests/domain/golden/firing.json", "json"),
        "group": _file("tests/domain/causes/golden/firing.json", "json"),
        "receiver": _file("tests/domain/golden/receiver-failing.json", "json"),
        "python": _file("examples/receivers/receiver.py", "python"),
        "javascript": _file("examples/receivers/receiver.mjs", "javascript"),
        "go": _file("examples/receivers/verify.go", "go"),
        "shell": _file("examples/receivers/verify.sh", "bash"),
    },
}
"""The derived parts of each document, by their names."""


def derived(path: str) -> str:
    """Return a document as it should be.

    Raises:
        ValueError: it lacks the lines that a part stands between.
    """
    text = (ROOT / path).read_text("utf-8")
    for name, make in DERIVED[path].items():
        line = r"[^\n]*"
        marked = re.compile(
            rf"(^{line}\bderived: {name}\b{line}\n).*?(^{line}\bend: {name}\b)",
            re.MULTILINE | re.DOTALL,
        )
        if not marked.search(text):
            raise ValueError(f"{path} has no part `derived: {name}` … `end: {name}`")
        part = make()
        text = marked.sub(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Write the derived parts."""
    for path in DERIVED:
        (ROOT / path).write_text(derived(path), "utf-8")


if __name__ == "__main__":
    main()
