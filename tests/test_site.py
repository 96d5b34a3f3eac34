"""The site of docs/: it is built without a warning, complete, and needs no other server."""

import re
import sys
from pathlib import Path

import pytest

from tests.browser import browser, opened
from tests.conftest import ROOT, run

PAGES = {page.stem for page in (ROOT / "docs").glob("*.md")}
PHONE = 390


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site that was built as `make site` does it."""
    folder = tmp_path_factory.mktemp("site")
    flags = re.search(r"sphinx-build (-W .*) docs site", (ROOT / "Makefile").read_text("utf-8"))
    assert flags
    run(sys.executable, "-m", "sphinx", *flags[1].split(), "docs", folder, cwd=ROOT)
    return folder


def test_every_page_can_be_reached(site: Path) -> None:
    found, ahead = set(), ["index.html"]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += re.findall(r'href="([\w-]+\.html)', (site / name).read_text("utf-8"))
    pages = {name.removesuffix(".html") for name in found}
    assert {name if name != "search" else "searching" for name in PAGES} <= pages


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*"):
        if file.suffix in {".html", ".css"}:
            text = file.read_text("utf-8")
            used = re.findall(
                r"<(?:link|script|img)\b[^>]*(?:href|src)=[\"'](?:https?:)?//.*", text
            )
            used += re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//.*", text)
            assert used == [], file


def test_what_is_made_of_the_template(site: Path) -> None:
    texts = {path.stem: path.read_text("utf-8") for path in site.glob("*.html")}
    words = {
        name: re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text)) for name, text in texts.items()
    }
    assert "EXPERIMENT_PLATEAU_STD, --plateau-std" in words["settings"]
    assert "number &gt; 0; default 0.001" in words["settings"]
    assert "open_experiment(project, name, storage_path=None, **instead)" in words["api"]
    assert "Keep a Changelog" in words["changelog"]
    assert "uvx cookiecutter &lt;this repository&gt;" in words["get-started"]
    assert [name for name, text in texts.items() if re.search("<!-- (in|it|site)", text)] == []


def test_in_a_browser(site: Path) -> None:
    with browser() as context, opened(context, site / "index.html", PHONE) as watched:
        page = watched.page
        for name in sorted(path.name for path in site.glob("*.html")):
            page.goto((site / name).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE, name
        assert watched.complaints == []
        page.set_viewport_size({"width": 1200, "height": 900})
        page.fill(".sidebar-search", "PLATEAU_STD")
        page.press(".sidebar-search", "Enter")
        page.wait_for_selector("#search-results a[href^='settings.html']")
        assert [url for url in watched.requests if not url.startswith("file:")] == []
