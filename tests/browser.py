"""Opens pages in headless Chromium as a person would, and notices what goes wrong behind them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, sync_playwright

CHROMIUM = shutil.which("chromium")
HERE = {"localhost", "127.0.0.1"}
# Chromium asks Google's hosts for updates and the like at every start, unless told not to.
QUIET = [
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (.ci/run installs it)")


@contextmanager
def browser_page(
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    touch: bool = False,
    ignored: tuple[str, ...] = (),
) -> Iterator[Page]:
    """A page of a new profile in which nothing may go wrong, and which reaches this machine only.

    Args:
        width, height: of the window, in pixels.
        dark: whether the person likes dark pages.
        touch: whether it is a phone.
        ignored: parts of console messages that are no error of ours.

    Raises:
        AssertionError: at the end, where the console showed an error, a script failed, or the page
            asked another host for something; it says which.
    """
    wrong: list[str] = []

    def stay_here(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in {"http", "https", "ws", "wss"} and url.hostname not in HERE:
            wrong.append(f"asked {url.hostname} for {url.path}")
            route.abort()
        else:
            route.continue_()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=QUIET, chromium_sandbox=False
        )
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            accept_downloads=True,
        )
        context.route("**/*", stay_here)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        try:
            yield page
        finally:
            browser.close()
    wrong = [line for line in wrong if not any(part in line for part in ignored)]
    assert not wrong, "in the browser: " + "; ".join(wrong)
