import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import streams.commands
from streams.commands import COMMANDS, main
from streams.configuration.load import load
from streams.configuration.models import Configuration
from streams.errors import BrokerUnavailableError

SECRET = "whsec_" + "A" * 32


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CAMPAIGN_STREAMS_")]:
        monkeypatch.delenv(name)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_check_names_its_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("config", "check") == 0
    assert capsys.readouterr().out == "configuration is valid: defaults\n"
    Path("my.yaml").write_text("http: {port: 1}", "utf-8")
    monkeypatch.setenv("CAMPAIGN_STREAMS_HTTP__PORT", "2")
    assert run("config", "check", "--config", "my.yaml") == 0
    assert capsys.readouterr().out == "configuration is valid: my.yaml (+ 1 environment value)\n"


def test_check_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.yaml").write_text("htp: {}\nwindows: {size: x}", "utf-8")
    assert run("config", "check", "--config", "my.yaml") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        (
            'campaign-streams: my.yaml:2: windows.size is "x": expected a duration such as 200ms, '
            "5s, 1m, 24h or 7d, or seconds"
        ),
        "campaign-streams: my.yaml:1: htp is not known, did you mean http?",
    ]


def test_check_warns_of_what_is_hardly_meant(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.yaml").write_text("rules: [{name: mine, statuses: [FAILUR]}]", "utf-8")
    assert run("config", "check", "--config", "my.yaml") == 0
    out, err = capsys.readouterr()
    assert out == "configuration is valid: my.yaml\n"
    assert err == (
        "campaign-streams: warning: rule mine watches FAILUR, which is no known status: "
        "did you mean FAILURE?\n"
    )


def test_show_hides_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"receivers: [{{name: a, url: 'https://a/?key=hunter2', secrets: [{SECRET}]}}]"
    Path("my.yaml").write_text(text, "utf-8")
    for form in ([], ["--json"]):
        assert run("config", "show", "--config", "my.yaml", *form) == 0
        out = capsys.readouterr().out
        shown = json.loads(out) if form else yaml.safe_load(out)
        assert shown["receivers"][0]["secrets"] == ["********"]
        assert "hunter2" not in out
        assert SECRET not in out


def test_what_show_shows_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    setting = "delivery.allow_networks=10.0.0.0/8"
    assert run("config", "show", "--set", setting, "--set", "flush.interval=250ms") == 0
    Path("shown.yaml").write_text(capsys.readouterr().out, "utf-8")
    shown = load(Path("shown.yaml"), {}, {})
    assert shown == load(None, {}, dict([setting.split("=")], **{"flush.interval": 0.25}))
    assert shown != Configuration()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "No such command 'nope' (see campaign-streams --help)"),
        (["config", "check", "--x"], "No such option"),
        (["config", "check", "--set", "x"], "expected KEY=VALUE"),
        (["config", "check", "--config", "nope"], "nope: cannot be read: No such file"),
        (["dev", "--broker-port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("campaign-streams: ")
    assert message in line


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BrokerUnavailableError("no broker"), 1, "campaign-streams: no broker\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends(
    error: BaseException,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("streams.commands.configured.read", fail)
    assert run("config", "check") == status
    assert capsys.readouterr().err.strip() == said.strip()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("campaign-streams ")


def test_help_reads_no_subcommand() -> None:
    code = (
        "import sys\nfrom streams.commands import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert all(name in done.stdout for name in COMMANDS)
    assert {"pydantic", "aiokafka", "faust", "yaml"}.isdisjoint(done.stderr.split())


@pytest.mark.parametrize(
    "name",
    [
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(streams.commands.__path__)
        if hasattr(importlib.import_module(f"streams.commands.{module.name}"), "command")
    ],
)
def test_the_help_of_a_command_ends_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert name in COMMANDS
    assert run(name, "--help") == 0
    help_text = capsys.readouterr().out.rstrip()
    assert f"campaign-streams {name}" in help_text.rpartition("Example")[2]
