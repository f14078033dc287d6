"""The files for Docker say what the project says; nobody would notice otherwise."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.configuration.load import load
from tests.support.kafka_jars import POM
from tests.versions import VERSIONS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services: dict[str, Any] = compose["services"]
    return services


@pytest.fixture
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_kafka_is_the_release_that_is_tested(services: dict[str, Any]) -> None:
    tested = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    assert tested is not None
    assert services["kafka"]["image"] == f"apache/kafka:{tested[1]}"


@pytest.mark.parametrize("name", ["topics", "worker"])
def test_environment_is_configuration(services: dict[str, Any], name: str) -> None:
    environment = {key: str(value) for key, value in services[name]["environment"].items()}
    assert all(key.startswith("CAMPAIGN_STREAMS_") for key in environment)
    configuration = load(ROOT / "config" / "campaign-streams.yaml", environment, {})
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for server in configuration.kafka.bootstrap_servers:
        assert f"//{server}" in advertised


def test_worker_listens_where_the_port_is_published(services: dict[str, Any]) -> None:
    worker = services["worker"]
    environment = {key: str(value) for key, value in worker["environment"].items()}
    configuration = load(ROOT / "config" / "campaign-streams.yaml", environment, {})
    assert configuration.http.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert [port.rsplit(":", 1)[1] for port in worker["ports"]] == [str(configuration.http.port)]


def test_links_lead_to_the_published_port(services: dict[str, Any]) -> None:
    worker = services["worker"]
    environment = {key: str(value) for key, value in worker["environment"].items()}
    configuration = load(ROOT / "config" / "campaign-streams.yaml", environment, {})
    (published,) = [port.split(":")[1] for port in worker["ports"]]
    assert configuration.http.advertised_url == f"http://localhost:{published}"


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_worker_waits_for_the_topics_and_they_for_kafka(services: dict[str, Any]) -> None:
    assert services["worker"]["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"}
    }
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_image_has_every_file_that_it_copies(dockerfile: str) -> None:
    allowed = {
        line[1:].rstrip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_image_has_a_python_that_is_tested(dockerfile: str) -> None:
    stages = re.findall(r"^FROM python:([\d.]+)-slim", dockerfile, re.MULTILINE)
    assert len(stages) == 2
    assert set(stages) <= set(VERSIONS)


def test_image_runs_as_a_user_and_asks_after_its_health(dockerfile: str) -> None:
    last_stage = dockerfile.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    assert "/livez" in last_stage
