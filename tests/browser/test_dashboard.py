"""What a person at 3 a.m. does with the dashboard."""

import asyncio
import re
import time
from hashlib import sha256
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page, expect

from streams.configuration.http import HttpSettings
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.rules import Rule
from tests.api.conftest import RunningApi, StartApi
from tests.browser.conftest import Complaints, OpenPage
from tests.support.partitions import MemoryHolder, counts, holder, partition_settings

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'\"><script>alert(1)</script>",
    "\u202eright to left",
    "line\nbreak\ttab\x00",
    "javascript:alert(1)",
    "..",
    "a" * 500,
    "%2e%2e%2f?x=1#y",
]
FAILURE = frozenset({"FAILURE"})
expect.set_options(timeout=20_000)


def now_window() -> int:
    now = int(time.time())
    return now - now % 60


def held_now() -> MemoryHolder:
    return holder(now=time.time())


async def started(start: StartApi, held: MemoryHolder) -> RunningApi:
    return await start(held, now=time.time)


async def test_an_alert_appears_by_itself_and_leads_to_why(
    start: StartApi, open_page: OpenPage
) -> None:
    held = held_now()
    api = await started(start, held)
    held.add("spring-sale", now_window() - 60, counts({"SUCCESS": 1000}))
    api.commit(time.time())
    page = await open_page(api)
    await expect(page.get_by_text("No alert is firing.")).to_be_visible()
    await expect(page.locator("#status")).to_have_text("live")

    held.add("spring-sale", now_window(), counts({"SUCCESS": 500, "FAILURE": 500}))
    api.commit(time.time())
    await expect(page.get_by_text("1 alert firing")).to_be_visible()
    card = page.locator("li.alert")
    await expect(card).to_contain_text("50 % now")
    await expect(card).to_contain_text("told: ops (under way)")
    await expect(page.locator("tbody .flag")).to_be_visible()

    await card.get_by_role("link", name="spring-sale").click()
    await expect(page.get_by_role("heading", name="spring-sale")).to_be_visible()
    await expect(page.locator("svg.plot")).to_have_count(2)
    await expect(page.locator("svg .episode").first).to_be_attached()
    await card.get_by_role("link", name="History").click()
    await expect(page.get_by_role("heading", name="Why")).to_be_visible()
    await expect(page.get_by_text("began to fire").first).to_be_visible()
    await page.go_back()
    await expect(page.locator("svg.plot")).to_have_count(2)


async def test_a_campaign_s_page_says_why_no_rule_fires(
    start: StartApi, open_page: OpenPage
) -> None:
    rules = (Rule("spike", FAILURE, Spike()), Rule("level", FAILURE, Threshold(0.1)))
    settings = partition_settings(rules=rules)
    held = holder(settings=settings, now=time.time())
    api = await start(held, settings=settings, now=time.time)
    for age in range(14, -1, -1):
        begin = now_window() - 60 * age
        held.add("spring-sale", begin, counts({"SUCCESS": 495, "FAILURE": 5}))
        held.advance(begin + 59)
    api.commit(time.time())
    page = await open_page(api, "#/campaign/spring-sale")
    why = page.get_by_role("region", name="What the rules say")
    await expect(why).to_contain_text("Why no rule fires")
    await expect(why).to_contain_text("more hits in a row would be a breach")
    await why.get_by_text("All of these have to hold").last.click()
    await expect(why.get_by_text("attempts are judged together, and it takes 10")).to_be_visible()
    for level in ("usual", "limit"):
        await expect(page.locator(f"svg path.s-{level}")).to_have_attribute("d", re.compile("L.*L"))
    await expect(page.locator(".l-limit")).to_contain_text("worth an alert above 4.0 %")
    await page.get_by_label("Lines of rule").select_option("level")
    await expect(page.locator(".l-limit")).to_contain_text("worth an alert above 10 %")
    await expect(page.locator(".l-usual")).to_have_count(0)
    await expect(page).to_have_url(re.compile("rule=level"))


async def test_acknowledge_silence_and_send_again(start: StartApi, open_page: OpenPage) -> None:
    held = held_now()
    api = await started(start, held)
    held.add("c", now_window(), counts({"SUCCESS": 500, "FAILURE": 500}))
    api.commit(time.time())
    (partition,) = [p for p in held.here.values() if p.deliveries.deliveries()]
    (delivery,) = partition.deliveries.due(time.time())
    partition.deliveries.failed(delivery, "410 Gone", None)
    api.commit(time.time())
    page = await open_page(api)
    card = page.locator("li.alert")
    await expect(card).to_contain_text("given up")

    await card.get_by_role("button", name="Acknowledge").click()
    await page.get_by_label("Your name").fill("Ana")
    await page.get_by_label("Comment").fill("new certificate")
    await page.locator("dialog").get_by_role("button", name="Acknowledge").click()
    committing = await _wait_for_request(api, partition)
    assert committing
    await expect(card).to_contain_text("taken on by Ana: new certificate")

    await card.get_by_role("button", name="Silence").click()
    await expect(page.get_by_label("Your name")).to_have_value("Ana")
    await page.get_by_label("Why").fill("it is known")
    await page.locator("dialog").get_by_role("button", name="Silence").click()
    await expect(page.locator("dialog")).to_have_count(0)
    (silence,) = (await api.get("/v1/silences"))["silences"]
    assert silence["matchers"] == ['rule="failure-spike"', 'campaign_id="c"']
    assert (silence["created_by"], silence["comment"]) == ("Ana", "it is known")

    await card.get_by_role("link", name="History").click()
    await page.get_by_role("button", name="Send again").click()
    await page.locator("dialog").get_by_role("button", name="Send again").click()
    await expect(page.locator("td.state")).to_have_text("pending")
    assert delivery.state == "pending"

    await page.get_by_role("link", name="Rules").click()
    await page.get_by_role("button", name="End").click()
    await page.locator("dialog").get_by_role("button", name="End it").click()
    await expect(page.get_by_role("cell", name="expired")).to_be_visible()


async def _wait_for_request(api: RunningApi, partition: Any) -> bool:
    """Do, as the task would, what was asked of the partition, once that has arrived."""
    for _ in range(200):
        if partition.operators:
            api.commit(time.time())
            return True
        await asyncio.sleep(0.05)
    return False


async def test_what_is_in_use_stays_as_it_is_while_figures_change(
    start: StartApi, open_page: OpenPage
) -> None:
    held = held_now()
    api = await started(start, held)
    for n in range(60):
        held.add(f"campaign-{n:02}", now_window(), counts({"SUCCESS": 100 + n}))
    api.commit(time.time())
    page = await open_page(api, "#/?sort=campaign_id")
    row = page.get_by_role("row", name="campaign-40")
    await expect(row).to_contain_text("140")
    await row.get_by_role("link").focus()
    scrolled = await page.evaluate("window.scrollY")
    assert scrolled > 0
    await page.evaluate(
        """() => {
            const cell = [...document.querySelectorAll("tbody tr")][41].querySelector("a");
            window.getSelection().selectAllChildren(cell);
            window.marked = cell;
        }"""
    )
    held.add("campaign-40", now_window(), counts({"SUCCESS": 1000}))
    api.commit(time.time())
    await expect(row).to_contain_text("1,140")
    assert await page.evaluate("window.scrollY") == scrolled
    assert await page.evaluate("document.activeElement.textContent") == "campaign-40"
    assert await page.evaluate("window.getSelection().toString()") == "campaign-41"
    assert await page.evaluate("window.marked.isConnected")


async def test_a_worker_that_goes_and_comes_back(
    start: StartApi, open_page: OpenPage, complaints: Complaints
) -> None:
    held = held_now()
    api = await started(start, held)
    page = await open_page(api)
    calm = page.locator(".calm")
    await expect(calm).to_have_text("No alert is firing.")
    await page.context.set_offline(offline=True)
    api.health.reasons = ("no task runs",)
    await page.context.set_offline(offline=False)
    await expect(page.get_by_text("The worker is not ready: no task runs.")).to_be_visible()
    await expect(calm).to_contain_text("not everything can be asked")
    await expect(calm).to_have_class("calm unsure")
    api.health.reasons = ()
    await expect(page.locator("#status")).to_have_text("live")
    await expect(calm).to_have_text("No alert is firing.")
    complaints.found.clear()


async def test_health_is_not_said_of_a_worker_that_does_not_answer(
    start: StartApi, open_page: OpenPage, complaints: Complaints
) -> None:
    api = await started(start, held_now())
    page = await open_page(api, "#/health")
    await expect(page.get_by_text("This worker is ready.")).to_be_visible()
    await page.route("**/v1/stream*", lambda route: route.abort())
    await page.evaluate("window.location.hash = '#/rules'")
    await page.evaluate("window.location.hash = '#/health'")
    await expect(page.locator("#status")).to_have_text("connection lost")
    await expect(page.get_by_text("This worker is ready.")).to_have_count(0)
    complaints.found.clear()


async def test_ten_thousand_campaigns(start: StartApi, open_page: OpenPage) -> None:
    held = held_now()
    api = await started(start, held)
    for n in range(10_000):
        held.add(f"campaign-{n:05}", now_window(), counts({"SUCCESS": 1, "FAILURE": n % 2}))
    held.add("large", now_window(), counts({"SUCCESS": 450, "FAILURE": 300}))
    for partition in held.here.values():
        list(partition.take_changes(time.time()))
    page = await open_page(api)
    # One failure of two attempts is neither first nor loud.
    first = page.locator("tbody tr").first
    await expect(first).to_contain_text("large")
    await expect(page.locator("td.high")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_have_count(100)
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator("tbody tr")).to_have_count(500)
    await page.get_by_label("Find").fill("-09998")
    await expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("#/?search=-09998")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1200])
async def test_hostile_names_small_screens_and_assistive_technology(
    start: StartApi, open_page: OpenPage, width: int, *, dark: bool
) -> None:
    held = held_now()
    api = await started(start, held)
    for name in HOSTILE:
        sends = counts({"SUCCESS": 400, "FAILURE": 600, name: 5}, name, name, name)
        held.add(name, now_window(), sends, app_id=name)
    api.commit(time.time())
    alerts = (await api.get("/v1/alerts"))["alerts"]
    page = await open_page(api, width=width, dark=dark)
    await expect(page.locator("li.alert")).to_have_count(len(HOSTILE))
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    for target, ready in (
        ("#/", "tbody tr"),
        ("#/campaign/line%0Abreak%09tab%00", "svg.plot"),
        ("#/alerts", "tbody tr"),
        *((f"#/alert/{each['alert_id']}", ".history li") for each in alerts),
        ("#/rules", "li h2"),
        ("#/health", "tbody tr"),
    ):
        await page.evaluate(f"window.location.hash = {target!r}")
        await expect(page.locator(ready).first).to_be_visible()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (target, await page.evaluate(TOO_WIDE))
        assert await _violations(page, axe) == [], target


TOO_WIDE = """[...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > window.innerWidth + 1)
    .filter((each) => !each.closest(".scroll") || each.matches(".scroll"))
    .map((each) => each.outerHTML.slice(0, 150))"""


async def _violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds; its program is run beside the page, as the page's policy allows none."""
    await page.evaluate(axe)
    found = await page.evaluate("axe.run().then((results) => results.violations)")
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


async def test_by_keyboard_alone(start: StartApi, open_page: OpenPage) -> None:
    held = held_now()
    api = await started(start, held)
    held.add("c", now_window(), counts({"SUCCESS": 500, "FAILURE": 500}))
    api.commit(time.time())
    page = await open_page(api)
    await expect(page.locator("li.alert")).to_be_visible()
    reached = set()
    for _ in range(30):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.textContent"))
    assert {"To the content", "Alerts", "c", "Acknowledge", "Silence", "History"} <= reached
    await page.get_by_role("button", name="Acknowledge").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)


async def test_a_view_can_be_shared(start: StartApi, open_page: OpenPage) -> None:
    held = held_now()
    api = await started(start, held)
    for age in range(30):
        held.add("c", now_window() - 60 * age, counts({"SUCCESS": 500}))
    api.commit(time.time())
    page = await open_page(api, "#/campaign/c?range=1h")
    plot = page.locator("svg.plot").first
    await expect(plot).to_be_visible()
    await expect(page.locator("#range")).to_have_value("1h")
    box = await plot.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)
    await page.mouse.up()
    await expect(page.get_by_role("button", name="Now")).to_be_visible()
    shared = page.url.partition("#")[2]
    assert "from=" in shared
    other = await open_page(api, f"#{shared}")
    await expect(other.get_by_role("button", name="Now")).to_be_visible()
    ticks = "svg.plot >> nth=0 >> text"
    assert (
        await other.locator(ticks).all_inner_texts() == await page.locator(ticks).all_inner_texts()
    )


async def test_what_is_not_there_is_said(
    start: StartApi, open_page: OpenPage, complaints: Complaints
) -> None:
    api = await started(start, held_now())
    page = await open_page(api)
    for target, told in (("alert", "there is no alert none"), ("campaign", "no retained window")):
        await page.evaluate(f"window.location.hash = '#/{target}/none'")
        await expect(page.locator("#notice")).to_contain_text(told)
        await expect(page.get_by_role("link", name="← all campaigns")).to_be_visible()
        # Nothing is missing from what is there.
        await expect(page.locator("#status")).to_have_text("live")
    assert all("404" in each for each in complaints.found)
    complaints.found.clear()


@pytest.mark.parametrize(("width", "dark"), [(360, False), (1200, True)])
async def test_the_description_as_a_page(
    start: StartApi, open_page: OpenPage, width: int, *, dark: bool
) -> None:
    api = await started(start, held_now())
    page = await open_page(api, "docs", width=width, dark=dark)
    described = await api.get("/openapi.json")
    operations = page.locator("details:has(.method)")
    await expect(operations).to_have_count(sum(len(each) for each in described["paths"].values()))
    await expect(page.locator("section > h2")).to_have_count(len(described["tags"]))
    await operations.first.locator("summary").click()
    await page.locator("#Alert summary").click()
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    assert await _violations(page, axe) == []
    await page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, await page.evaluate(TOO_WIDE)


async def test_it_is_small_and_soon_there(start: StartApi, open_page: OpenPage) -> None:
    held = held_now()
    api = await started(start, held)
    for n in range(200):
        held.add(f"campaign-{n:03}", now_window(), counts({"SUCCESS": 500, "FAILURE": n}))
    api.commit(time.time())
    (alert, *_) = (await api.get("/v1/alerts"))["alerts"]
    page = await open_page(api)
    await expect(page.locator("#status")).to_have_text("live")
    for target in (
        "campaign/campaign-199",
        "alerts",
        f"alert/{alert['alert_id']}",
        "rules",
        "health",
    ):
        await page.evaluate(f"window.location.hash = '#/{target}'")
        await expect(page.locator("#waiting")).to_have_count(0)
        await expect(page.get_by_text("Loading…")).to_have_count(0)
    sizes = await page.evaluate(
        """["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
            .map((each) => each.transferSize)"""
    )
    assert sum(sizes) <= 500_000
    # Requests, each of which waits for the one that names it.
    assert sum(template == "/static/{file}" for _, template, _ in api.answered) <= 25


async def test_whoever_may_not_see_a_page_is_told_so_on_one(
    start: StartApi, open_page: OpenPage, complaints: Complaints
) -> None:
    digest = sha256(b"secret").hexdigest()
    token = {"name": "writer", "sha256": digest, "scopes": ["write"]}
    http = HttpSettings.model_validate({"port": 0, "anonymous": "never", "tokens": [token]})
    api = await start(held_now(), http, now=time.time)
    page = await open_page(api, token="secret")
    await expect(page.get_by_role("heading", name="Forbidden")).to_be_visible()
    await expect(page.get_by_text("this needs a token with the scope read")).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.body).maxWidth") == "640px"
    assert all("403" in each for each in complaints.found)
    complaints.found.clear()
