"""The pages need nothing from elsewhere, and everything they name is there."""

import re

from streams.api.pages import load_assets
from tests.api.conftest import StartApi
from tests.support.partitions import holder

NAMED = re.compile(r"""(?:src|href|from|import)\s*=?\s*["'](?:\./|static/)([\w.-]+)["']""")


async def test_every_file_that_a_page_names_is_served(start: StartApi) -> None:
    api = await start(holder())
    seen, waiting = set[str](), {"dashboard.html", "docs.html"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = await api.ask(f"/static/{name}")
        assert answer.status == 200, name
        waiting |= set(NAMED.findall(answer.body.decode())) - seen
    assert seen == set(load_assets())


async def test_their_types_are_those_that_browsers_insist_on(start: StartApi) -> None:
    api = await start(holder())
    for target, content_type in (
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/static/dashboard.js", "text/javascript; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml; charset=utf-8"),
    ):
        assert (await api.ask(target)).headers["Content-Type"] == content_type


def test_nothing_is_fetched_from_elsewhere_or_written_as_markup() -> None:
    for name, body in load_assets().items():
        text = body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), name
        assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", text), name


async def test_other_files_are_not_served(start: StartApi) -> None:
    api = await start(holder())
    for name in ("..%2Fserver.py", "%2Fetc%2Fpasswd", "server.py", ".."):
        await api.refused(f"/static/{name}", 404)
