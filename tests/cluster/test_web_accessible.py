"""The web page for people who see, hear or move otherwise: axe-core's rules, and the keyboard."""

from pathlib import Path
from typing import Any

import pytest
from browserbed import DESKTOP, PHONE, Browser
from disbatch_runs import ROOT, Bench
from test_web_page import BAD, WAIT, browser, chrome, figure, start, until_text

pytestmark = pytest.mark.cluster
__all__ = ["browser", "chrome"]  # fixtures

AXE = Path(ROOT) / ".venv" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: scripts/test gets it by npm")


def faults(page: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is now."""
    page.evaluate(AXE.read_text() + "; 0")
    found = page.evaluate("(rules) => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES)
    assert len(found["passes"]) > 10  # a dialog hides most of it
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@needs_axe
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_fault(bench: Bench, browser: Browser, dark: bool, size: tuple[int, int]) -> None:
    run, url = start(bench, "--web-control", tasks=f"true\n{BAD}\n{WAIT}\ntrue\n")
    page = browser.open(url, size=size, dark=dark)
    figure(page, "running", "1")
    page.wait_for_selector("#chart-rate .main-svg")
    page.locator(".cause summary").click()
    page.locator("#bars summary").click()
    page.wait_for_selector("#bars-table td")
    assert faults(page) == []
    page.locator("#drain").click()
    assert faults(page) == []
    page.locator("#ask-no").click()
    draw = "(link) => import('/static/link.js').then((m) => m.drawLink(link, {age_s: () => 99, since_s: () => 0}, {run: {}}))"
    page.evaluate(draw, "lost")
    assert faults(page) == []
    bench.file("go", "")
    until_text(page, "banner", "has ended")
    assert faults(page) == []
    assert run.end().code == 0


def test_bars_can_be_gone_through_by_keys_and_read_as_a_table(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"sleep 0.2; exit 0\nsleep 0.3; {BAD}\nsleep 0.1; {WAIT}\n")
    page = browser.open(url)
    page.wait_for_function("() => document.getElementById('timeline').dataset.bars === '2'")
    figure(page, "running", "1")
    page.locator("#timeline").focus()
    seen = []
    for key in ["ArrowDown"] * 4 + ["ArrowUp"]:
        page.keyboard.press(key)
        seen.append(page.locator("#tip strong").inner_text())
    assert sorted(seen[:2]) == ["Task 0: done", "Task 1: exit code 3"]
    assert seen[2:] == ["Task 2 runs", "Task 2 runs", seen[1]]
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.locator("#bars summary").press("Enter")
    rows = page.locator("#bars-table tbody tr")
    page.wait_for_function("() => document.querySelectorAll('#bars-table tbody tr').length === 3")
    assert rows.locator("td:first-child").all_inner_texts() == seen[2::-1]
    summary = page.locator(".cause summary")
    summary.press("Enter")
    assert page.locator(".cause").get_attribute("open") is not None
    bench.file("go", "")
    assert run.end().code == 0
