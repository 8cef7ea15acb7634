"""A headless Chromium that reports everything its console says."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = (1280, 900), (390, 844)
Scheme = Literal["light", "dark"]


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start Chromium; it is gone afterwards."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        try:
            yield started
        finally:
            await started.close()


class Visitor:
    """One person at one page, in a browser profile of their own."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self.root = root
        self.complaints: list[str] = []
        page.on("console", lambda line: self._heard(line.type, line.text))
        page.on("pageerror", lambda error: self._heard("error", str(error)))

    async def log_in(self, name: str, password: str) -> None:
        """Log in and stay on the live page."""
        await self.page.goto(f"{self.root}/")
        await self.page.fill("#id_username", name)
        await self.page.fill("#id_password", password)
        await self.page.click("main button")
        await self.page.wait_for_url(f"{self.root}/")

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)


async def weight(page: Page) -> int:
    """Return the bytes, each file in gzip, of the page as it is and of everything it has loaded."""
    names = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    addresses = {page.url, *await page.evaluate(names)}
    answers = [await page.request.get(address) for address in addresses if address.startswith("http")]
    return sum([len(gzip.compress(await answer.body())) for answer in answers])


@asynccontextmanager
async def visitor(
    chromium: Browser, root: str, *, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
) -> AsyncIterator[Visitor]:
    """Open a page for somebody new."""
    width, height = size
    context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        yield Visitor(await context.new_page(), root)
    finally:
        await context.close()
