"""A real browser for tests of what people look at: the system's chromium, headless, that keeps a list of what it asked for
and of what it complained about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = (1400, 900)
PHONE = (390, 844)
WAIT_MS = 30_000.0


def why_no_browser() -> str:
    """Why there can be no test with a browser here, or nothing."""
    if shutil.which("chromium") is None:
        return "chromium is not installed"
    if find_spec("playwright") is None:
        return "the Python package playwright is not installed"
    return ""


class Browser:
    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self.requests: list[str] = []  # every address that any page has asked for
        self.complaints: list[str] = []  # errors on the console, and those that nobody caught

    def open(self, url: str, *, size: tuple[int, int] = DESKTOP, dark: bool = False) -> Any:
        """A page in a profile of its own, loaded."""
        context = self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        self.watch(page)
        page.goto(url)
        return page

    def watch(self, page: Any) -> None:
        """Keep what a page asks for and complains of."""
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self._heard(message.type, f"{message.text} ({message.location})"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def begin(self) -> None:
        """Closes what is open, and forgets what was asked for and said."""
        for context in self._chromium.contexts:
            context.close()
        self.requests.clear()
        self.complaints.clear()

    def hosts(self) -> set[str]:
        """Whom the pages have talked to."""
        return {urlsplit(url).netloc for url in self.requests if not url.startswith("data:")}

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


@contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        try:
            yield Browser(running)
        finally:
            running.close()
