"""The web page in a real browser beside a real run: what a person sees, does, and is kept from."""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from browserbed import PHONE, Browser, chromium, why_no_browser
from disbatch_runs import Bench, Run
from tunnel import Tunnel

pytestmark = pytest.mark.cluster

WAIT = "until [ -e go ]; do sleep 0.02; done"
BAD = 'echo "cannot open /scratch/in/1.dat" >&2; exit 3'


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    if reason := why_no_browser():
        pytest.skip(reason)
    with chromium() as made:
        yield made


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """The browser of all these tests; fails one in which a page complained."""
    chrome.begin()
    yield chrome
    assert chrome.complaints == []


MARKUP = "echo '<img src=/x onerror=alert(1)><b>bold</b>' >&2; exit 4 # <script>alert(2)</script>"


def start(bench: Bench, *arguments: str, tasks: str) -> tuple[Run, str]:
    run = bench.start_here(2, "-w", *arguments, tasks=tasks)
    url = bench.path / "run_url"
    run.until(lambda: url.exists() and url.read_text().endswith("\n"), "the page's address")
    return run, url.read_text().strip()


def figure(page: Any, name: str, text: str) -> None:
    """Waits until a figure shows this."""
    page.wait_for_function(
        "([name, text]) => document.getElementById('figure-' + name)?.textContent === text", arg=[name, text]
    )


def pill(page: Any) -> tuple[str, str]:
    """How the run ended, in words and as a colour."""
    found = page.locator("#run-state")
    return found.inner_text(), found.get_attribute("data-state")


def until_text(page: Any, element: str, pattern: str) -> None:
    page.wait_for_function(
        "([id, pattern]) => new RegExp(pattern).test(document.getElementById(id).textContent)",
        arg=[element, pattern],
    )


def test_figures_move_and_a_failure_shows_up(bench: Bench, browser: Browser) -> None:
    run, url = start(
        bench, tasks=f"true\n{WAIT}\n{WAIT}\n{BAD}\n{BAD.replace('1.dat', '22.dat')} # the second\ntrue\n"
    )
    page = browser.open(url)
    figure(page, "done", "1")
    figure(page, "running", "2")
    figure(page, "waiting", "3")
    until_text(page, "percent", r"16\.7 %")
    assert page.locator("#run-name").inner_text() == "Tasks" and page.title().startswith("16.7 %")
    assert page.locator("#failures-none").is_visible() and page.locator("tbody tr").count() == 1
    assert page.locator("#run-control, #stop, .act button").first.is_hidden()  # it only looks
    bench.file("go", "")
    figure(page, "failed", "2")
    until_text(page, "banner", "The run has ended.*Exit code 0")
    assert run.end().code == 0
    # the driver is gone, and the last picture stays
    assert page.locator("#link").get_attribute("data-link") == "ended"
    assert (
        page.locator("#percent").inner_text() == "100 %" and page.locator("#figure-done").inner_text() == "4"
    )
    assert pill(page) == ("ended, 2 failed", "mixed")
    cause = page.locator(".cause")  # a number in the message makes no other
    assert cause.count() == 1 and re.search(r"2 ×.*exit code 3.*cannot open", cause.inner_text(), re.S)
    cause.locator("summary").click()
    assert {"Task 3", "Task 4"} == set(cause.locator("strong").all_inner_texts())
    page.locator("#search").fill("scratch second")
    assert cause.locator("strong").all_inner_texts() == ["Task 4"]
    page.locator("#search").fill("nothing like this")
    assert cause.is_hidden() and page.locator("#failures-none").is_visible()


def test_many_causes_do_not_push_the_engines_away(bench: Bench, browser: Browser) -> None:
    tasks = "".join(f"echo 'sample {letter}x is bad' >&2; exit 2\n" for letter in "ABCDEFGHIJKLMNOPQRST")
    run, url = start(bench, tasks=f"{tasks}{WAIT}\n")
    page = browser.open(url, size=PHONE)
    figure(page, "failed", "20")
    causes, more = page.locator(".cause:visible"), page.locator("#failures-more")
    page.wait_for_function("document.querySelectorAll('.cause').length === 20")
    assert causes.count() == 12 and more.inner_text() == "Show all 20 causes"
    page.locator("#search").fill("tx is")  # a search is through all of them
    assert causes.count() == 1 and more.is_hidden()
    page.locator("#search").fill("")
    more.click()
    assert causes.count() == 20 and more.inner_text() == "Show fewer causes"
    more.click()
    assert causes.count() == 12
    bench.file("go", "")
    assert run.end().code == 0


def test_nothing_leaves_the_machine_and_the_token_leaves_the_address(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=WAIT)
    page = browser.open(url)
    figure(page, "running", "1")
    page.wait_for_selector("#chart-rate .main-svg")  # plotly has drawn
    assert "token" not in page.url and page.evaluate("document.cookie") == ""
    base = url.split("/#")[0]
    assert browser.hosts() == {base.removeprefix("http://")}
    token = url.split("token=")[1]
    secret = page.evaluate("sessionStorage.getItem('disbatch-session')")
    assert [asked for asked in browser.requests if token in asked.split("#")[0] or secret in asked] == []
    page.reload()
    figure(page, "running", "1")
    bench.file("go", "")
    assert run.end().code == 0


def test_what_tasks_print_is_no_markup(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"{MARKUP}\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "failed", "1")
    page.locator(".cause summary").click()
    assert "<b>bold</b>" in page.locator(".cause summary").inner_text()
    assert page.locator(".command").inner_text() == MARKUP
    assert page.locator("#failures img, #failures b, #failures script").count() == 0
    bench.file("go", "")
    assert run.end().code == 0


def test_what_tasks_are_called_and_print_cannot_reorder_the_page(bench: Bench, browser: Browser) -> None:
    name = "T\x1b[2J\u202eexe.\udcff"
    bench.file(name, f"printf 'no\\033[2J \\342\\200\\256x\\n' >&2; exit 3 # \u202eab\n{WAIT}\n")
    run = bench.start("-s", "localhost:2", "-p", "run", "-w", name)
    url = bench.path / "run_url"
    run.until(lambda: url.exists() and url.read_text().endswith("\n"), "the page's address")
    page = browser.open(url.read_text().strip())
    figure(page, "failed", "1")
    assert page.title().endswith("T\\x1b[2J\\u202eexe.\\xff")
    page.locator(".cause summary").click()
    assert "no\\x1b[2J \\u202ex" in page.locator(".cause summary").inner_text()
    assert page.locator(".command").inner_text().endswith("# \\u202eab")
    text = page.locator("body").inner_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    bench.file("go", "")
    assert run.end().code == 0


def test_the_timeline_has_a_bar_for_each_task(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks="sleep 0.3\n" * 5 + f"{BAD}\n{WAIT}\n")
    page = browser.open(url)
    page.wait_for_function("() => document.getElementById('timeline').dataset.bars === '6'")
    figure(page, "running", "1")
    found = page.evaluate(
        """async () => {
             const canvas = document.getElementById('timeline');
             const box = canvas.getBoundingClientRect();
             const seen = new Set();
             for (let y = 4; y < box.height; y += 4) for (let x = 1; x < box.width; x += 2) {
               canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + x, clientY: box.top + y, pointerType: 'mouse'}));
               const tip = document.getElementById('tip');
               if (!tip.hidden) seen.add(tip.querySelector('strong').textContent);
             }
             return [...seen].sort();
           }"""
    )
    assert found == [*[f"Task {n}: done" for n in range(5)], "Task 5: exit code 3", "Task 6 runs"]
    bench.file("go", "")
    assert run.end().code == 0


def test_ten_thousand_bars_are_drawn_in_a_frame(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=WAIT)
    page = browser.open(url)
    figure(page, "running", "1")
    times = page.evaluate(
        """async () => {
             const { arrange, draw } = await import('/static/timeline_draw.js');
             const [nodes, rows] = [['a', 'b', 'c', 'd'], [25, 25, 25, 25]];
             const bars = Array.from({length: 10000}, (_, n) => [n % 4, (n >> 2) % 25, n * 0.06, n * 0.06 + 5, 1, n % 9 ? 0 : 1, n, 0, 'x']);
             const canvas = Object.assign(document.createElement('canvas'), {width: 1400, height: 440});
             const g = canvas.getContext('2d', {willReadFrequently: true});
             const view = {width: 1400, height: 440, scroll: 0, from: 0, to: 605, now: 605, place: arrange(rows)};
             const colours = Object.fromEntries(['done', 'failed', 'running', 'runningSoft', 'text', 'muted', 'line', 'track'].map((c, n) => [c, `rgb(${n * 20} 9 9)`]));
             const took = [];
             for (let n = 0; n < 20; n += 1) {
               const began = performance.now();
               draw(g, view, {bars, open: [], nodes, rows, barriers: []}, {...colours, font: 'sans-serif'});
               g.getImageData(0, 0, 1, 1);  // until it is really drawn
               took.push(performance.now() - began);
             }
             return took.sort((a, b) => a - b);
           }"""
    )
    print(f"10,000 bars: median {times[10]:.1f} ms, worst {times[-1]:.1f} ms")
    assert times[10] < 50  # a machine that does other things as well; alone it is a few milliseconds
    bench.file("go", "")
    assert run.end().code == 0


def test_what_the_timeline_leaves_out_is_said(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=WAIT)
    page = browser.open(url)
    figure(page, "running", "1")
    assert page.locator("#timeline-gaps").is_hidden()
    found = page.evaluate(
        """async () => {
             const { gaps, newState, takeTick, takeWhole } = await import('/static/state.js');
             const bar = (n) => [0, 0, n * 1000, n * 1000 + 500, 1, 0, n, 0, 'x'];
             const bars = (from, to) => Array.from({length: to - from}, (_, n) => bar(from + n));
             const tick = (some, running = 1, unseen = 0) => ({now_s: 0, counts: {running}, contexts: [], history: [], nodes: ['a', 'b'],
               rows: [], open: [], barriers: [], unseen, end: null, engines: [], bars: some, groups: [], examples: [], messages: []});
             const early = newState();  // sees all of it
             takeWhole(early, {run: {}, engine_fields: [], ...tick(bars(0, 9999))});
             takeTick(early, tick(bars(9999, 12000)));
             const before = gaps(early, -10);
             takeTick(early, tick(bars(12000, 12100)));
             const late = newState();
             takeWhole(late, {run: {}, engine_fields: [], ...tick(bars(5000, 15000), 201, 3)});
             return [before, gaps(early, 0), gaps(early, 101), gaps(late, 0)];
           }"""
    )
    assert found == [[], [["bars", 100.5]], [], [["bars", 5000.5], ["running", 200], ["nodes", 2]]]
    bench.file("go", "")
    assert run.end().code == 0


def test_an_engine_is_stopped_by_a_person_who_was_asked(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, "--web-control", tasks=f"{WAIT}\n" * 4)
    page = browser.open(url)
    figure(page, "running", "2")
    button = page.get_by_role("button", name="Stop engine 0")
    button.click()
    page.locator("#ask-no").click()  # no
    assert page.locator("#ask").is_hidden() and button.is_enabled()
    button.click()
    page.locator("#ask-yes").click()
    until_text(page, "ask-text", "^Done: ")
    page.locator("#ask-no").click()
    page.wait_for_selector("tr[data-state=STOPPING]")
    assert button.is_disabled()
    bench.file("go", "")
    until_text(page, "banner", "has ended.*Exit code 3")
    assert pill(page) == ("ended early", "bad")
    assert page.locator("#drain:visible, #contexts button:visible, .act:visible").count() == 0
    assert run.end().code == 3 and bench.done() == [0, 1]


def test_a_run_is_finished_early_from_the_page(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, "--web-control", tasks=f"{WAIT}\n" * 4)
    page = browser.open(url)
    figure(page, "running", "2")
    page.locator("#drain").click()
    page.locator("#ask-yes").click()
    until_text(page, "ask-text", "^Done: ")
    page.locator("#ask-no").click()
    until_text(page, "messages", "nothing more is started")
    bench.file("go", "")
    until_text(page, "banner", "Exit code 130")
    assert run.end().code == 130 and bench.done() == [0, 1]


def test_a_network_that_breaks_and_comes_back(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"true\n{WAIT}\n{BAD}\n{WAIT.replace('go', 'go2')}\n")
    address = urlsplit(url)
    with Tunnel(address.port) as tunnel:
        page = browser.open(url.replace(f":{address.port}", f":{tunnel.port}"))
        figure(page, "done", "1")
        events = page.evaluate("document.documentElement.dataset.ticks")
        tunnel.cut()
        until_text(page, "link-text", "no contact since")
        bench.file("go", "")
        run.until(lambda: 2 in bench.done(), "a task fails while nobody can see it")
        tunnel.mend()
        until_text(page, "link-text", "^live$")
        figure(page, "failed", "1")
        assert (
            page.locator(".cause").count() == 1
            and page.locator("#timeline").get_attribute("data-bars") == "3"
        )
        assert int(page.evaluate("document.documentElement.dataset.ticks")) > int(events)
        bench.file("go2", "")
        until_text(page, "banner", "has ended")
        assert run.end().code == 0
    browser.complaints[:] = [text for text in browser.complaints if "ERR_" not in text]


def test_a_driver_that_stands_still_and_goes_on(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"true\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "running", "1")
    run.signal(signal.SIGSTOP)
    try:
        until_text(page, "link-text", "no news")
    finally:
        run.signal(signal.SIGCONT)
    until_text(page, "link-text", "^live$")
    bench.file("go", "")
    until_text(page, "banner", "has ended")
    assert pill(page) == ("all done", "good")
    assert run.end().code == 0


def test_a_driver_that_is_gone_without_a_word(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"true\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "running", "1")
    run.kill()
    until_text(page, "link-text", "no contact since")
    assert page.locator("#figure-done").inner_text() == "1"
    run.until_ended()
    page.close()
    browser.complaints[:] = [text for text in browser.complaints if "ERR_" not in text]
    for name in ("run_url", "run_webtoken"):
        os.unlink(bench.path / name)


def test_an_engine_is_stopped_from_a_phone(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, "--web-control", tasks=f"{WAIT}\n" * 4)
    page = browser.open(url, size=PHONE)
    figure(page, "running", "2")
    button = page.get_by_role("button", name="Stop engine 0").bounding_box()
    card = page.locator(".stack .table-view").bounding_box()
    assert card["x"] <= button["x"] and button["x"] + button["width"] <= card["x"] + card["width"]
    page.get_by_role("button", name="Stop engine 0").click()
    asked = page.locator("#ask").bounding_box()
    assert asked["x"] >= 8 and asked["x"] + asked["width"] <= PHONE[0] - 8
    page.locator("#ask-yes").click()
    page.wait_for_selector("tr[data-state=STOPPING]")
    bench.file("go", "")
    assert run.end().code == 3


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_and_both_kinds_of_light(bench: Bench, browser: Browser, dark: bool) -> None:
    run, url = start(bench, tasks=f"{BAD}\n{WAIT}\n")
    page = browser.open(url, size=PHONE, dark=dark)
    figure(page, "failed", "1")
    page.wait_for_selector("#chart-rate .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    for _ in range(2 if dark else 3):  # automatic, light, dark
        page.locator("#theme").click()
    page.wait_for_function(
        f"() => document.documentElement.dataset.theme === '{'dark' if dark else 'light'}'"
    )
    for element in ("body", ".note", ".tile dt", ".how", ".pill", "#theme", "#search", ".cause .times"):
        assert contrast(page, element) >= 4.5, element
    bench.file("go", "")
    assert run.end().code == 0


def contrast(page: Any, element: str) -> float:
    """Of an element's text with what is behind it, as the accessibility guidelines count it (4.5 is enough for text)."""
    found: float = page.evaluate(
        """(selector) => {
             const element = document.querySelector(selector);
             const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
             let behind = element;
             while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
             const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
               .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
             const [a, b] = [light(numbers(getComputedStyle(element).color)), light(numbers(getComputedStyle(behind).backgroundColor))];
             return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
           }""",
        element,
    )
    return found
