"""Tables on real terminals of several widths, and in pipes."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from streams.commands import main
from streams.commands.following import Followed, News
from streams.commands.sparklines import on_axis, sparkline
from streams.commands.tables import Column, laid_out, shortened
from tests.api.conftest import NOW, RunningApi
from tests.commands.test_query import Background
from tests.support.partitions import counts
from tests.support.terminals import terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ASKED = (
    ("campaigns", "--trend"),
    ("campaign", "a/b"),
    ("windows", "a/b", "--by", "treatment_id"),
    ("windows", "a/b"),
    ("alerts",),
    ("rules",),
    ("deliveries",),
    ("receivers",),
)


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    with Background() as started:
        yield started


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("columns", [80, 40])
def test_a_row_is_one_line_of_the_terminal(
    api: RunningApi, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in ASKED:
        with terminal(columns, monkeypatch) as shown:
            assert run("query", *arguments, "--url", api.url) == 0
            lines = COLOUR.sub("", shown.read()).split("\n")
        assert len(lines) > 2, arguments
        for line in lines:
            assert line.isprintable(), "no name steers the terminal"
            assert cell_len(line) <= columns, (arguments, line)


def test_ids_are_shortened_in_the_middle_and_columns_left_out(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal(80, monkeypatch) as shown:
        assert run("query", "campaigns", "--url", api.url) == 0
        title, *rows = COLOUR.sub("", shown.read()).split("\n")
    assert title.split()[0] == "campaign"
    assert any(re.match(r"x+…x+ ", row) for row in rows)
    with terminal(40, monkeypatch) as shown:
        assert run("query", "campaigns", "--url", api.url) == 0
        title = COLOUR.sub("", shown.read()).split("\n")[0]
    assert title.split() == ["campaign", "attempts", "failed", "firing"]
    assert capsys.readouterr().err.endswith(
        "narrow: app, throttled, usual, certain rise, last window\n"
    )


def test_colours_only_where_they_are_wanted(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("query", "alerts", "--url", api.url)
    with terminal(120, monkeypatch) as shown:
        assert run(*asked) == 0
        assert "\x1b[31mfiring\x1b[0m" in shown.read()
        for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
            monkeypatch.setenv(name, value)
            assert run(*asked) == 0
            assert "\x1b" not in shown.read()
            monkeypatch.undo()
    capsys.readouterr()
    assert run(*asked) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_pipe_has_all_columns_and_no_empty_cells(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("query", "alerts", "--url", api.url) == 0
    title, row = capsys.readouterr().out.splitlines()
    titles, cells = re.split(r" {2,}", title), re.split(r" {2,}", row)
    assert len(titles) == len(cells) == 15
    assert dict(zip(titles, cells, strict=True))["treatment"] == "-"


def test_windows_are_drawn(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80, monkeypatch) as shown:
        assert run("query", "windows", "a/b", "--url", api.url) == 0
        drawn = shown.read()
        assert run("query", "campaigns", "--trend", "--url", api.url) == 0
        campaigns = COLOUR.sub("", shown.read())
    assert re.search(r"^attempts  █  to 200$", drawn, re.MULTILINE)
    assert re.search(r"^failed    █  to 20.0%$", drawn, re.MULTILINE)
    assert "trend (0-20%)" in campaigns


def test_csv_and_ndjson(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("query", "campaigns", "--output", "csv", "--url", api.url) == 0
    title, *rows = capsys.readouterr().out.split("\r\n")
    assert title.startswith("counts,attempts,unrecognised,rates.failure,rates.throttled")
    assert len(rows) == 5
    assert rows[-1] == ""
    assert run("query", "windows", "a/b", "--output", "ndjson", "--url", api.url) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["attempts"] == 200
    by_treatment = ["query", "windows", "a/b", "--by", "treatment_id", "--output", "csv"]
    assert run(*by_treatment, "--url", api.url) == 0
    assert len(capsys.readouterr().out.split("\r\n")) == 4
    assert run("query", "rules", "--json", "--output", "csv", "--url", api.url) == 2
    assert "choose one" in capsys.readouterr().err


def test_pages_by_cursor(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    cursor: list[str] = []
    for _ in range(4):
        asked = ["--limit", "1", *cursor, "--output", "ndjson", "--url", api.url]
        assert run("query", "campaigns", *asked) == 0
        printed = capsys.readouterr()
        seen.append(json.loads(printed.out)["campaign_id"])
        found = re.search(r"--cursor (\S+),", printed.err)
        cursor = ["--cursor", found[1]] if found else []
    assert len(set(seen)) == 4
    assert cursor == []


def test_followed_rows_are_told_once_until_they_change() -> None:
    news = News(Followed(("id",), ("state",), newest_first=True))
    one, two = {"id": 1, "state": "a", "x": 0}, {"id": 2, "state": "a"}
    assert news.of([two, one]) == [one, two]
    assert news.of([two, {**one, "x": 1}]) == []
    assert news.of([{**two, "state": "b"}, one]) == [{**two, "state": "b"}]


def test_follow_tells_what_comes_and_ends_by_ctrl_c() -> None:
    with Background() as api:
        command = [sys.executable, "-m", "streams", "query", "windows", "new", "--url", api.url]
        options = ["--follow", "--interval", "0.2s", "--output", "ndjson"]
        start = int(NOW) - 120
        api.holder.add("new", start, counts({"SUCCESS": 1}))
        with subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["attempts"] == 1
            api.holder.add("new", start + 60, counts({"SUCCESS": 2}))
            assert json.loads(process.stdout.readline())["attempts"] == 2
            process.send_signal(2)
            assert process.stdout.read() == ""
            assert process.stderr.read() == ""
    assert process.returncode == 130


def test_follow_waits_for_an_api_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Background() as api:
        assert run("query", "rules", "--url", api.url, "--follow") == 2, "rules do not change"
        capsys.readouterr()

        def refuse(*_: Any) -> tuple[int, bytes]:
            return 503, b'{"detail": "starting"}'

        monkeypatch.setattr(time, "sleep", _scripted(monkeypatch, refuse))
        assert run("query", "receivers", "--url", api.url, "-f") == 130
        printed = capsys.readouterr()
        assert printed.out.count("enabled") == 1
        assert printed.err.strip() == "campaign-streams: starting; asking again"


def _scripted(
    monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., tuple[int, bytes]]
) -> Callable[[float], None]:
    """Pause as the test says: after one the API goes away, and the last is broken off."""
    pauses = iter(range(4))

    def sleep(_seconds: float) -> None:
        pause = next(pauses)
        if pause == 1:
            monkeypatch.setattr("streams.api.client.ApiClient._fetch", refuse)
        if pause == 3:
            raise KeyboardInterrupt

    return sleep


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(3, 20), st.integers(1, 60)), min_size=1),
    st.integers(20, 200),
)
def test_a_layout_fits(given_: list[tuple[int, int, int]], width: int) -> None:
    columns = [Column(str(at), rank, least) for at, (rank, least, _) in enumerate(given_)]
    rows = [["x" * size for _, _, size in given_]]
    layout = laid_out(columns, rows, (False,) * len(columns), width)
    kept = [wide for wide in layout.widths if wide]
    never_out = sum(not column.rank for column in columns)
    assert all(wide for wide, column in zip(layout.widths, columns, strict=True) if not column.rank)
    assert sum(kept) + 2 * (len(kept) - 1) <= max(width, 5 * never_out)


@given(st.text(), st.integers(3, 40))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    shown = shortened(text, width)
    assert cell_len(shown) <= width
    if cell_len(text) <= width:
        assert shown == text


def test_sparklines() -> None:
    assert sparkline([0, 0.001, 0.5, 1, None, 2], 1) == "▁▂▅█ █"
    assert on_axis({60: 1.0, 180: 3.0}, 60, 240, 60) == [1.0, None, 3.0, None]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    assert "_CAMPAIGN_STREAMS_COMPLETE" in script
    assert "campaign-streams" in script


def test_a_shell_is_told_subcommands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CAMPAIGN_STREAMS_COMPLETE", "bash_complete")
    for words, expected in (
        ("campaign-streams que", "plain,query"),
        ("campaign-streams query al", "plain,alerts"),
        ("campaign-streams query alerts --fol", "plain,--follow"),
        ("campaign-streams query rules --output nd", "plain,ndjson"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        run()
        assert expected in capsys.readouterr().out.splitlines()
