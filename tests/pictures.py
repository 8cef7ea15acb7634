"""Takes the pictures of the README and the docs from a running demo.

    make run                                                    # in another terminal
    python -m tests.pictures http://127.0.0.1:8000 PASSWORD     # the one that it printed

Both colour schemes and a phone; the demo's first exit is over before the pictures are taken.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.environment import ROOT
from tests.support.browser import PHONE, Scheme, browser, visitor

FOLDER = ROOT / "docs" / "img"
PICTURES: tuple[tuple[str, tuple[int, int], Scheme], ...] = (
    ("live.png", (1280, 1000), "light"),
    ("live-dark.png", (1280, 1000), "dark"),
    ("live-phone.png", PHONE, "light"),
)
COCKPIT = {"cockpit.png": "", "cockpit-strategies.png": "strategies/strategy/"}
"""Pages of the admin, for the desk and light."""
PAGES = {
    "timeline.png": "strategies/1/",
    "new-strategy.png": "strategies/new/",
    "start.png": "start/",
    "alert-channels.png": "alerts/channels/",
    "account.png": "brokers/1/",
    "api.png": "api/docs",
    "api-tokens.png": "api/tokens/",
}
"""The other pages: the demo's first strategy is the one that exits."""


async def take(chromium: Browser, args: argparse.Namespace) -> None:
    for name, size, scheme in PICTURES:
        async with visitor(chromium, args.url.rstrip("/"), size=size, scheme=scheme) as guest:
            await guest.log_in(args.user, args.password)
            page = guest.page
            await expect(page.locator("#connection")).to_have_text("Live", timeout=60_000)
            await expect(page.locator("[data-list=exits]")).to_contain_text(
                "sold", ignore_case=True, timeout=120_000
            )
            if size != PHONE:
                await page.keyboard.press("j")
                await page.keyboard.press("Enter")
                await expect(page.locator("#chart-note")).to_have_text("Today, IST")
            await page.screenshot(path=args.folder / name)
    await take_cockpit(chromium, args)
    await take_pages(chromium, args)


async def take_pages(chromium: Browser, args: argparse.Namespace) -> None:
    async with visitor(chromium, args.url.rstrip("/"), size=(1280, 1000)) as guest:
        await guest.log_in(args.user, args.password)
        for name, path in PAGES.items():
            await guest.page.goto(f"{guest.root}/{path}")
            await guest.page.screenshot(path=args.folder / name)


async def take_cockpit(chromium: Browser, args: argparse.Namespace) -> None:
    async with visitor(chromium, args.url.rstrip("/")) as guest:
        await guest.log_in(args.user, args.password)
        await expect(guest.page.locator("#connection")).to_have_text("Live", timeout=60_000)
        for name, path in COCKPIT.items():
            await guest.page.goto(f"{guest.root}/admin/{path}")
            await expect(guest.page.locator("#cockpit-note")).to_have_text("Live")
            await guest.page.screenshot(path=args.folder / name)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the docs from a running demo.")
    parser.add_argument("url")
    parser.add_argument("password")
    parser.add_argument("--user", default="demo")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args()
    async with browser() as chromium:
        await take(chromium, args)


if __name__ == "__main__":
    asyncio.run(main())
