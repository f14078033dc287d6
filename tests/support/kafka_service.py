"""`make kafka` and `make kafka-stop`: a real Apache Kafka for people to try things on.

It runs in the background, its files in `.kafka/running`; stopping it removes its data.
"""

# ruff: noqa: T201 - it speaks to the person at the terminal

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

from tests.support.brokers import KafkaBroker, KafkaStartError
from tests.support.kafka_jars import CACHE, KafkaUnavailableError
from tests.support.ports import LOOPBACK, is_free

RUNNING = CACHE / "running"
PID_FILE = RUNNING / "pid"
USUAL_PORT = 9092
STOP_TIMEOUT_S = 30.0


def main() -> int:
    """Exit status 0 when Kafka is as wanted, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="start Kafka and wait until it answers")
    starting.add_argument("--port", type=int, help=f"default: {USUAL_PORT} or else a free one")
    commands.add_parser("stop", help="stop it and remove its data")
    arguments = parser.parse_args()
    try:
        return start(arguments.port) if arguments.command == "start" else stop()
    except (KafkaStartError, KafkaUnavailableError) as error:
        print(error, file=sys.stderr)
        return 1


def start(port: int | None) -> int:
    """Start Kafka on `port`, or on the usual one, or on a free one."""
    if running_pid():
        print("Kafka is running already: make kafka-stop ends it", file=sys.stderr)
        return 1
    shutil.rmtree(RUNNING, ignore_errors=True)
    if port is None:
        port = USUAL_PORT if is_free(USUAL_PORT) else 0
    broker = KafkaBroker(port, directory=RUNNING)
    broker.start()
    PID_FILE.write_text(str(broker.pid))
    broker.detach()
    print(
        f"Apache Kafka {broker.version} answers on {LOOPBACK}:{broker.port} "
        f"after {broker.start_seconds:.1f} s (log: {broker.log_file}); make kafka-stop ends it"
    )
    return 0


def stop() -> int:
    """Stop what `start` started; nothing to stop is no failure."""
    pid = running_pid()
    if pid is None:
        print("Kafka is not running")
        return 0
    os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running_pid():
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(RUNNING, ignore_errors=True)
    print("Kafka has stopped, its data is removed")
    return 0


def running_pid() -> int | None:
    """The process that `start` left, if it is still that one and not another with its number."""
    if not PID_FILE.exists():
        return None
    pid = int(PID_FILE.read_text())
    told = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return pid if str(RUNNING) in told.stdout else None


if __name__ == "__main__":
    sys.exit(main())
