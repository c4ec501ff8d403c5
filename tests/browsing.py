"""A real browser for tests: Debian's Chromium, driven by Playwright, with the network closed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium")

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def chromium() -> Iterator:
    """A browser, or a skipped test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page, and what went wrong on it: errors, refusals by its policy, requests elsewhere."""

    def __init__(self, browser, home: str, **options) -> None:
        self.home = home
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def _dialog(self, dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request) -> None:
        if "/thumbnail?" not in request.url and not request.url.endswith("/icon.svg"):
            self.asked.append(request.url)
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def go(self, place: str):
        self.page.goto(self.home + place)
        return self.page

    def keys(self) -> list[str]:
        """The keys of the hits that can be seen, in order."""
        return self.page.eval_on_selector_all(
            "#results .hit",
            "hits => hits.filter(h => h.checkVisibility()).map(h => h.dataset.key)",
        )

    def settled(self) -> None:
        """Wait until no answer is awaited any more."""
        self.page.wait_for_selector("#view:not([aria-busy])")

    def done(self) -> None:
        """Wait for the end of a study: its page loads itself again until then."""
        self.page.wait_for_selector("main:not(:has(.running))", timeout=120_000)
