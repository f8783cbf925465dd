"""The page of disbatch-report in a real browser: drawn, quiet, usable, and without a word to the network."""

import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browserbed import PHONE, Browser, chromium, why_no_browser
from disbatch_runs import DEADLINE_S, Bench

pytestmark = pytest.mark.cluster

REPORT = [sys.executable, "-m", "disbatch.report"]
EVIL = 'echo \'</script><script>document.title = 1</script><img src="http://192.0.2.1/x" onerror="document.title = 2">\' >&2'
TASKS = f"""#DISBATCH REPEAT 30 sleep 0.0$((RANDOM % 5 + 1))
{EVIL}; exit 3
echo leaked
#DISBATCH BARRIER
sleep 0.3
sleep 0.6; exit 1 # the last one
"""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    if reason := why_no_browser():
        pytest.skip(reason)
    with chromium() as made:
        yield made


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """The browser of all these tests; fails one in which a page complained, or asked anybody for anything."""
    chrome.begin()
    yield chrome
    assert chrome.complaints == []
    assert {url.partition(":")[0] for url in chrome.requests} <= {"file", "data", "blob"}


def page_of(bench: Bench, browser: Browser, status: str, **how: Any) -> Any:
    """Makes a page of a status file, opens it, and waits until it is drawn."""
    done = bench.run(status, "--html", "page.html", program=REPORT)
    assert done.code == 0, done.err
    page = browser.open(f"file://{bench.path}/page.html", **how)
    page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
    return page


def painted(page: Any) -> dict[str, int]:
    """How many pixels of the timeline have the colour of tasks that went well, and of those that failed."""
    return page.evaluate(
        """() => {
          const canvas = document.getElementById("timeline"), copy = new OffscreenCanvas(canvas.width, canvas.height);
          const g = copy.getContext("2d", { willReadFrequently: true }); // the browser warns of reading the canvas itself
          g.drawImage(canvas, 0, 0);
          const pixels = g.getImageData(0, 0, canvas.width, canvas.height).data;
          const wanted = {};
          for (const name of ["ok", "bad"]) {
            const text = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
            wanted[name] = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
          }
          const found = { ok: 0, bad: 0 };
          for (let i = 0; i < pixels.length; i += 4)
            for (const name in wanted) if (wanted[name].every((v, n) => pixels[i + n] === v)) found[name]++;
          return found;
        }"""
    )


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Waits for what only Python can see; events of the mouse arrive when the browser paints."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        page.evaluate("() => new Promise(requestAnimationFrame)")


def until_about(page: Any, pattern: str) -> None:
    page.wait_for_function(
        "(pattern) => new RegExp(pattern).test(document.getElementById('about').textContent)", arg=pattern
    )


@pytest.mark.parametrize(("size", "dark"), [((1400, 900), False), ((1400, 900), True), (PHONE, True)])
def test_the_page_of_a_run(bench: Bench, browser: Browser, size: tuple[int, int], dark: bool) -> None:
    bench.here(2, tasks=TASKS)
    page = page_of(bench, browser, "run_status.txt", size=size, dark=dark)
    assert page.title() == "disBatch: run_status.txt"
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]  # nothing sticks out
    cards = page.locator(".card").all_inner_texts()
    assert [re.split(r"\s+", card)[:2] for card in cards[:2]] == [["34", "tasks"], ["2", "failed"]]
    for name in ("curve", "durations", "memory", "cpu"):
        assert page.locator(f"#{name} .main-svg").count() > 0, name
    assert page.locator("#durations .bars path").count() > 3
    assert page.locator("img").count() == 0
    found = painted(page)
    assert found["ok"] > 1000 and found["bad"] > 100
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (
        sum(map(int, re.findall(r"\d+", back))) < 200
        if dark
        else sum(map(int, re.findall(r"\d+", back))) > 600
    )


def test_a_task_is_named_and_the_time_can_be_spread(bench: Bench, browser: Browser) -> None:
    bench.here(2, tasks=TASKS)
    page = page_of(bench, browser, "run_status.txt")
    canvas = page.locator("#timeline")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    right = box["x"] + box["width"] - 20
    page.mouse.move(right, box["y"] + 10)
    until_about(page, "slot 0.*(empty|the last one)")
    above = page.locator("#about").inner_text()
    page.mouse.move(right, box["y"] + 70)
    until_about(page, "slot 1.*(empty|the last one)")
    below = page.locator("#about").inner_text()
    told = above if "last one" in above else below
    assert re.search(
        r"slot \d: task 34 \(line 6\), from .*, failed with 1: sleep 0.6; exit 1 # the last one", told
    )
    before = painted(page)["bad"]
    page.mouse.move(box["x"] + box["width"] - 100, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(right, box["y"] + 10, steps=4)
    page.mouse.up()
    until(page, lambda: painted(page)["bad"] > before)  # the failed task fills more of its row
    page.get_by_role("button", name="all").click()
    until(page, lambda: painted(page)["bad"] == before)


def test_failed_tasks_are_filtered(bench: Bench, browser: Browser) -> None:
    bench.here(2, tasks=TASKS)
    page = page_of(bench, browser, "run_status.txt")
    page.locator("#failed summary").click()
    rows = page.locator("#failed tbody tr:visible")
    assert rows.count() == 2
    page.locator("#filter").fill("LAST ONE")
    page.wait_for_function("document.querySelectorAll('#failed tbody tr[hidden]').length === 1")
    assert "the last one" in rows.inner_text()
    assert page.title() == "disBatch: run_status.txt"  # no command has become a script


def status_lines(count: int, nodes: int, slots: int) -> Iterator[str]:
    rng = random.Random(1)
    free = [1.8e9] * (nodes * slots)
    for number in range(count):
        slot = number % len(free)
        start, took = free[slot], rng.uniform(0.5, 1.5)
        free[slot] += took
        bad = number % 50 == 0
        yield (
            f"{'R' if bad else ' '}   \t{number}\t{number + 1}\t-1\tnode{slot // slots}\t9\t{int(bad)}\t{took:.3f}\t{start:.3f}\t"
            f"{start + took:.3f}\t0\t''\t0\t''\t./work {number}\n"
        )


def test_axes_of_time_and_a_legend_that_covers_no_bar(bench: Bench, browser: Browser) -> None:
    bench.file("four_status.txt", "".join(status_lines(1800, 4, 2)))
    page = page_of(bench, browser, "four_status.txt")
    ticks = page.locator("#curve .xtick text").all_text_contents()
    assert ticks[:3] == ["0:00", "0:30", "1:00"]
    legend = page.locator("#nodes .legendtext").first.bounding_box()
    bars = page.locator("#nodes .bars path")
    assert bars.count() == 8 and legend["y"] + legend["height"] <= bars.first.bounding_box()["y"]


@pytest.mark.parametrize(("count", "nodes", "slots"), [(50_000, 10, 20), (60_000, 10, 20), (5_000, 400, 2)])
def test_many_tasks_stay_smooth(bench: Bench, browser: Browser, count: int, nodes: int, slots: int) -> None:
    """Painting is what every movement of the mouse over a chosen part costs. The wall clock of a busy machine says
    little, so of ten times the best one counts."""
    Path(bench.path / "many_status.txt").write_text("".join(status_lines(count, nodes, slots)))
    page = page_of(bench, browser, "many_status.txt")
    assert painted(page)["ok"] > 10_000 or count != 50_000
    best = page.evaluate(
        """() => {
          const g = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          let best = 1e9;
          for (let n = 0; n < 10; n++) {
            const begin = performance.now();
            document.querySelector(`[data-zoom=${n % 2 ? "out" : "in"}]`).click();
            g.drawImage(document.getElementById("timeline"), 0, 0);
            g.getImageData(0, 0, 1, 1); // all that was painted is there
            best = Math.min(best, performance.now() - begin);
          }
          return best;
        }"""
    )
    assert best < 250, f"{best:.0f} ms"
