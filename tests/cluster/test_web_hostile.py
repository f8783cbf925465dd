"""The page in a real browser is fed texts that look like markup, reorder text, or do not end, in every name that it has."""

import json
import re
import sys
from pathlib import Path

import pytest
from browserbed import DESKTOP, PHONE, Browser
from test_web_page import browser, chrome

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "disbatch"))
from report_builders import row
from test_hostile_views import HOSTILE, STATIC, fed

from disbatch.core.failures import FailureGroups
from disbatch.core.status import parse_record
from disbatch.web.picture.picture import PageFacts, Picture
from disbatch.web.savedpage import saved_page

pytestmark = pytest.mark.cluster
__all__ = ["browser", "chrome"]  # fixtures

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def page_of(text: str) -> str:
    picture = Picture(PageFacts(text, text, text, text, 0.0, "4", False))
    groups = FailureGroups()
    groups.add(1, 1, text)
    record = parse_record(row(1, 0, 5, code=1)[:-1], "here")
    assert record is not None
    picture.note([record._replace(node=text, command=text, out_snippet=text, err_snippet=text)])
    picture.say(1.0, "warning", text)
    picture.end("COMPLETE", text, 0, text)
    picture.tick(fed(text), groups.largest())
    return saved_page(STATIC, json.dumps(picture.whole()))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_everywhere(tmp_path: Path, browser: Browser, text: str, size: tuple[int, int]) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(text), "utf-8", "surrogatepass")
    page = browser.open(path.as_uri(), size=size)
    page.wait_for_function("() => document.getElementById('timeline').dataset.bars === '1'")
    page.locator(".cause summary").click()
    page.locator("#bars summary").click()
    page.wait_for_selector("#bars-table td")
    assert page.locator("main b, main img, main script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    shown = page.locator("body").inner_text()
    assert CONTROLS.search(shown) is None and CONTROLS.search(page.title()) is None
    if size == DESKTOP and text == "w" * 10_000:
        name = page.evaluate(
            """() => import('disbatch/timeline_draw.js').then(({ fitting }) => {
                 const g = document.getElementById('timeline').getContext('2d');
                 return [fitting(g, 'w'.repeat(10000), 100), fitting(g, 'node1', 100)];
               })"""
        )
        assert name[0].endswith("w…") and len(name[0]) < 30 and name[1] == "node1"
