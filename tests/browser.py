"""A headless browser: what a page looks like, asks for and complains of."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

# What `make test` brings where none of these is on the PATH; see tests/tools/chromium.
UNPACKED = Path(__file__).parent / "tools/chromium/node_modules/.browser"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass
class Watched:
    """An open page, with all that it has asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def program(own: str) -> tuple[str, dict[str, str]]:
    """The browser, and its variables. Without one, a developer's tests go on; CI fails.

    own: where Playwright has its own, if `playwright install chromium` has been run
    """
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found, {}
    if Path(own).exists():
        return own, {}
    if (UNPACKED / "chromium").exists():
        libraries, fonts = UNPACKED / "al2023/lib", UNPACKED / "fonts"
        return str(UNPACKED / "chromium"), {
            "LD_LIBRARY_PATH": str(libraries),
            "FONTCONFIG_PATH": str(fonts),
        }
    message = f"needs a browser, and none of {', '.join(NAMES)} is on the PATH"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def browser() -> Iterator[BrowserContext]:
    """A browser with an empty profile. It is cut off from every network."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, sync_playwright() as p:
        path, variables = program(p.chromium.executable_path)
        context = p.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            env={**os.environ, **variables},
            args=QUIET,
            offline=True,
        )
        try:
            yield context
        finally:
            context.close()


@contextmanager
def opened(context: BrowserContext, path: Path, width: int) -> Iterator[Watched]:
    """Open a file of a report in a window of a width, and wait for its plots."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    watched = Watched(page)
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: watched.complaints.append(said.text) if said.type == "error" else None,
    )
    page.goto(path.as_uri())
    page.wait_for_function(
        "[...document.querySelectorAll('.figure')].every(e => e.querySelector('svg, canvas'))"
    )
    try:
        yield watched
    finally:
        page.close()
