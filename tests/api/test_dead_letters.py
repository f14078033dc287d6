"""The newest dead letters over HTTP."""

from hashlib import sha256

from streams.configuration.http import HttpSettings
from streams.errors import UnavailableError
from tests.api.conftest import StartApi
from tests.support.dead_letters import sample
from tests.support.partitions import holder


async def test_the_newest_are_listed(start: StartApi) -> None:
    api = await start(holder())
    assert (await api.get("/v1/dead-letters"))["dead_letters"] == []
    api.dead_letters.found = [sample(9), sample(8, None), sample(7)]
    first, second = (await api.get("/v1/dead-letters?limit=2"))["dead_letters"]
    assert (first["place"], first["beginning"], first["reason"]) == ("0:9", '{"xxx": 9', "not-json")
    assert (first["source_topic"], first["source_partition"], first["source_offset"]) == (
        "campaign-events",
        3,
        42,
    )
    assert second["beginning"] is None
    csv = await api.ask("/v1/dead-letters", headers={"Accept": "text/csv"})
    assert csv.body.splitlines()[0].startswith(b"place,failed_at,reason")
    assert "expected a whole number" in await api.refused("/v1/dead-letters?limit=51", 400)


async def test_it_says_that_the_topic_is_away(start: StartApi) -> None:
    api = await start(holder())
    api.dead_letters.fails = UnavailableError("there is no topic dead (topics.dead_letter)")
    assert "there is no topic dead" in await api.refused("/v1/dead-letters", 503)


async def test_tokens_with_patterns_do_not_see_them(start: StartApi) -> None:
    tokens = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), **patterns}
        for name, patterns in (("all", {}), ("some", {"campaigns": ["a*"]}))
    ]
    http = HttpSettings.model_validate({"port": 0, "anonymous": "never", "tokens": tokens})
    api = await start(holder(), http)
    for name, status in (("all", 200), ("some", 403)):
        headers = {"Authorization": f"Bearer {name}"}
        assert (await api.ask("/v1/dead-letters", headers=headers)).status == status
    assert (await api.ask("/v1/dead-letters")).status == 401
