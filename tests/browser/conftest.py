"""A browser for the session, and pages that complain of whatever goes wrong in them."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from tests.api.conftest import RunningApi, StartApi, running
from tests.support.partitions import MemoryHolder

# What it would ask of its maker's servers is nobody's business here.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OpenPage: TypeAlias = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in item.nodeid:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("there is no chromium")
        pytest.skip("there is no chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        yield browser
        await browser.close()


@pytest.fixture
async def start() -> AsyncIterator[StartApi]:
    """Starts servers that stop with the test."""
    async with AsyncExitStack() as stack:

        async def enter(holder: MemoryHolder, *args: Any, **options: Any) -> RunningApi:
            return await stack.enter_async_context(running(holder, *args, **options))

        yield enter


class Complaints:
    """What went wrong in pages, and what they asked of other hosts."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def watch(self, page: Page, base: str) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.found.append(f"console: {message.text}")

        def on_request(request: Request) -> None:
            if not request.url.startswith((base, "data:")):
                self.found.append(f"asks {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("request", on_request)
        page.on("dialog", lambda dialog: self.found.append(f"dialog: {dialog.message}"))


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
async def open_page(browser: Browser, complaints: Complaints) -> AsyncIterator[OpenPage]:
    """Open a page of a server; nothing may go wrong in it that a test does not forgive."""
    async with AsyncExitStack() as stack:

        async def opened(
            api: RunningApi,
            target: str = "",
            *,
            width: int = 1200,
            dark: bool = False,
            token: str | None = None,
        ) -> Page:
            context = await stack.enter_async_context(
                await browser.new_context(
                    viewport={"width": width, "height": 800},
                    color_scheme="dark" if dark else "light",
                    timezone_id="Europe/Berlin",
                    http_credentials={"username": "", "password": token} if token else None,
                )
            )
            page = await context.new_page()
            base = f"http://127.0.0.1:{api.port}"
            complaints.watch(page, base)
            await page.goto(f"{base}/{target}")
            return page

        yield opened
    assert complaints.found == []
