import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

PATIENCE_S = 60.0


@pytest.mark.parametrize("command", ["worker", "dev"])
def test_a_status_that_is_hardly_meant_is_warned_of_at_start(command: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("rules: [{name: mine, statuses: [FAILUR]}]", "utf-8")
    # Neither comes far: one has no broker, the other no port for it.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hindrance = {
            "worker": ["--set", f"kafka.bootstrap_servers=127.0.0.1:{free_port()}"],
            "dev": ["--broker-port", str(taken.getsockname()[1])],
        }
        done = subprocess.run(
            [sys.executable, "-m", "streams", command, "--config", str(file), *hindrance[command]],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 1
    (warned,) = [line for line in done.stderr.splitlines() if "FAILUR" in line]
    assert "warning" in warned
    assert "did you mean FAILURE?" in warned
