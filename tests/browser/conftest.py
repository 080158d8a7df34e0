"""Chromium on the running product: real pages, real web process, nothing from elsewhere.

The browser is the system's own (`chromium-headless-shell` or `chromium`); CHROMIUM names another. Screenshots go to the
directory that ZENTRA_SCREENSHOTS names, else to a temporary one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.servers import WebServer

WIDTH, HEIGHT = 1440, 900
#: A screenshot of a long page ends here.
MAX_HEIGHT = 1400


@dataclass
class Window:
    """A page of the browser that remembers what it asked for and what went wrong."""

    page: Page
    server: WebServer
    screenshots: Path
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._requested)
        self.page.on("response", self._answered)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def open(self, path: str) -> None:
        self.page.goto(self.server.url + path, wait_until="load")

    def log_in(self, name: str, password: str) -> None:
        self.open("/admin/")
        self.page.fill("input[name=username]", name)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url("**/admin/")

    def text(self) -> str:
        return self.page.inner_text("body")

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """A screenshot of what the window shows; with ``whole`` the window is made as high as its page, to a bound."""
        self.page.wait_for_load_state("load")
        self.page.evaluate("document.fonts.ready")
        if whole:
            height = int(self.page.evaluate("document.documentElement.scrollHeight"))
            self.page.set_viewport_size({"width": WIDTH, "height": min(max(height, HEIGHT), MAX_HEIGHT)})
        self.page.screenshot(path=self.screenshots / f"{name}.png")
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def strangers(self) -> list[str]:
        """Addresses that were asked for and are not ours."""
        ours = urlsplit(self.server.url).netloc
        return [url for url in self.requests if not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != ours]

    def overflows(self) -> bool:
        """Whether the page is wider than the window: a reader would have to scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    directory = Path(os.environ.get("ZENTRA_SCREENSHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # The synchronous browser client keeps an event loop in this thread; the ORM would refuse to work beside it.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program, "no Chromium: apt-get install --no-install-recommends chromium-headless-shell fonts-dejavu-core"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-dev-shm-usage"])
        yield browser
        browser.close()
