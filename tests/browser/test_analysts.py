"""Treatments compared, dead letters, and the pages that notifications lead to."""

import time

from playwright.async_api import expect

from tests.api.conftest import StartApi
from tests.browser.conftest import OpenPage
from tests.support.dead_letters import sample
from tests.support.partitions import counts, holder

HOSTILE = "<img src=x onerror=alert(1)>"


async def test_the_worse_treatment_is_told(start: StartApi, open_page: OpenPage) -> None:
    held = holder(now=time.time())
    newest = int(time.time()) // 60 * 60
    for age in range(12):
        held.add("c", newest - 60 * age, counts({"SUCCESS": 990, "FAILURE": 10}, "0"))
        held.add("c", newest - 60 * age, counts({"SUCCESS": 400, "FAILURE": 100}, HOSTILE))
    api = await start(held, now=time.time)
    page = await open_page(api, "#/campaign/c")
    compared = page.get_by_role("region", name="Which is worse")
    await expect(compared).to_contain_text("reference")
    row = compared.get_by_role("row").filter(has_text=HOSTILE)
    await expect(row).to_contain_text("worse")
    await expect(row).to_contain_text("+19.00")
    await page.get_by_label("by").select_option("channel_type")
    await expect(compared).to_have_count(0)  # there is one channel


async def test_the_newest_dead_letters_and_how_to_replay_them(
    start: StartApi, open_page: OpenPage
) -> None:
    api = await start(holder(now=time.time()), now=time.time)
    api.dead_letters.found = [sample(9, HOSTILE), sample(8, None)]
    page = await open_page(api, "#/health")
    letters = page.get_by_role("region", name="The newest dead letters")
    await expect(letters).to_contain_text(HOSTILE)
    await expect(letters).to_contain_text("campaign-events 3:42")
    await expect(page.get_by_text("dead-letter replay --at 0:9")).to_be_visible()


async def test_links_of_notifications_lead_to_their_pages(
    start: StartApi, open_page: OpenPage
) -> None:
    held = holder(now=time.time())
    api = await start(held, now=time.time)
    held.add("a/b c", int(time.time()) // 60 * 60, counts({"SUCCESS": 60, "FAILURE": 40}))
    api.commit(time.time())
    (alert,) = (await api.get("/v1/alerts"))["alerts"]
    for url, shown in (
        (alert["links"]["alert_page"], "failure-spike"),
        (alert["links"]["campaign_page"], "a/b c"),
    ):
        page = await open_page(api, url.partition("/#")[2].join(("#", "")))
        await expect(page.get_by_text(shown).first).to_be_visible()
