"""The pages need nothing from elsewhere, and everything they name is there."""

import re
from base64 import b64encode
from hashlib import sha256

from streams.api.pages import load_assets
from streams.configuration.http import HttpSettings
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


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_is_told_on_a_page_why_it_may_not_see_one(start: StartApi) -> None:
    api = await start(holder(), HttpSettings(port=0, anonymous="never"))
    for target, accept, content_type in (
        ("/", BROWSER, "text/html; charset=utf-8"),
        ("/docs?x=<script>", BROWSER, "text/html; charset=utf-8"),
        ("/", "*/*", "application/problem+json"),
        ("/", "image/png", "application/problem+json"),
        ("/v1/campaigns", BROWSER, "application/problem+json"),
        ("/nowhere", BROWSER, "application/problem+json"),
    ):
        answer = await api.ask(target, headers={"Accept": accept})
        assert answer.status == 401
        assert answer.headers["Content-Type"] == content_type
        assert "Www-Authenticate" in answer.headers
        assert b"a token is needed" in answer.body


async def test_nothing_of_a_request_is_markup_in_such_a_page(start: StartApi) -> None:
    api = await start(holder())
    answer = await api.ask("/docs?<script>alert(1)</script>=1", headers={"Accept": BROWSER})
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert b"&lt;script&gt;" in answer.body
    assert b"<script" not in answer.body
    style = answer.body.partition(b"<style>")[2].partition(b"</style>")[0]
    digest = b64encode(sha256(style).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
