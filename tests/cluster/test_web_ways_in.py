"""Ways to the page: the address opens once, and what it gives stays with the browser; and how contact is lost and found."""

import re
import signal
import subprocess
from typing import Any

import pytest
from browserbed import Browser
from disbatch_runs import Bench
from test_web_page import WAIT, browser, chrome, figure, start, until_text
from tunnel import Tunnel

pytestmark = pytest.mark.cluster
__all__ = ["browser", "chrome"]  # fixtures

TABS = 8  # more than a browser opens connections to one host


def forgive(browser: Browser, *parts: str) -> None:
    """Take what belongs to this test out of what the pages have complained of."""
    browser.complaints[:] = [text for text in browser.complaints if not any(part in text for part in parts)]


def tab(browser: Browser, page: Any, url: str) -> Any:
    """Another tab of the same browser."""
    other = page.context.new_page()
    browser.watch(other)
    other.goto(url)
    return other


def test_an_address_that_was_opened_says_where_a_fresh_one_is(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=WAIT)
    page = browser.open(url)
    figure(page, "running", "1")
    thief = browser.open(url)
    until_text(thief, "contact", "A fresh one is always in PREFIX_url")
    assert thief.locator("#figure-running").inner_text() == "–"
    run.until(lambda: bench.read("run_url").strip() != url, "a fresh address")
    waiting = tab(browser, thief, url.split("#")[0])
    until_text(waiting, "contact", "A fresh one is always in PREFIX_url")
    thief.goto(bench.read("run_url").strip())  # only what is behind # differs
    figure(thief, "running", "1")
    assert thief.locator("#contact").is_hidden() and "token" not in thief.url
    figure(waiting, "running", "1")  # which another tab has opened by now
    assert waiting.locator("#contact").is_hidden()
    page.goto(url)  # its owner opens the old one once more
    figure(page, "running", "1")
    forgive(browser, "403")
    bench.file("go", "")
    assert run.end().code == 0


def test_many_tabs_share_one_stream_and_what_opened_it(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, "--web-control", tasks=f"true\n{WAIT}\n{WAIT.replace('go', 'go2')}\n")
    base = url.split("#")[0]
    page = browser.open(url)
    figure(page, "running", "2")
    tabs = [tab(browser, page, base) for _ in range(TABS)]  # a bookmark
    for other in tabs:
        figure(other, "running", "2")
    assert len([asked for asked in browser.requests if asked.endswith("/events")]) == 1
    page.close()  # which read the stream
    bench.file("go", "")
    for other in tabs:
        figure(other, "done", "2")
        until_text(other, "link-text", "^live$")
    bench.file("go2", "")
    for other in tabs:
        until_text(other, "banner", "has ended.*Exit code 0")
    forgive(browser, "403", "401", "ERR_")
    assert run.end().code == 0


def test_a_connection_that_hangs_is_given_up(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"true\n{WAIT}\n{WAIT.replace('go', 'go2')}\n")
    port = int(re.findall(r":(\d+)/", url)[0])
    with Tunnel(port) as tunnel:
        page = browser.open(url.replace(f":{port}", f":{tunnel.port}"))
        figure(page, "running", "2")
        tunnel.hang()
        bench.file("go", "")
        run.until(lambda: 1 in bench.done(), "a task ends while nothing comes through")
        until_text(page, "link-text", "no contact since")
        assert page.locator("#figure-done").inner_text() == "1"
        figure(page, "done", "2")  # by a new connection
        until_text(page, "link-text", "^live$")
        tunnel.hang()
        until_text(page, "link-text", "no news")
        page.evaluate("dispatchEvent(new Event('online'))")
        until_text(page, "link-text", "^live$")
        bench.file("go2", "")
        until_text(page, "banner", "has ended")
    forgive(browser, "ERR_")
    assert run.end().code == 0


def test_a_driver_that_has_gone_does_not_look_alive(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=f"true\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "running", "1")
    run.signal(signal.SIGSTOP)
    try:
        until_text(page, "link-text", r"no contact since \d+:\d\d:\d\d")
        assert page.evaluate("document.documentElement.dataset.contact") == "lost"
        assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('.timeline')).filter")
        now = "document.getElementById('timeline').dataset.now"
        first = page.evaluate(now)
        page.wait_for_timeout(1500)
        assert page.evaluate(now) == first
    finally:
        run.signal(signal.SIGCONT)
    until_text(page, "link-text", "^live$")
    assert page.evaluate("document.documentElement.dataset.contact") == ""
    forgive(browser, "ERR_")
    bench.file("go", "")
    until_text(page, "banner", "has ended")
    assert run.end().code == 0


def test_after_a_minute_without_contact_it_is_said_where_to_look(bench: Bench, browser: Browser) -> None:
    run, url = start(bench, tasks=WAIT)
    page = browser.open(url)
    figure(page, "running", "1")
    shown = page.evaluate(
        """async () => {
             const { drawLink } = await import('/static/link.js');
             const run = {host: 'node1', log_file: '/w/run_driver.txt', status_file: '/w/run_status.txt'};
             const since = (age_s) => ({age_s: () => age_s, since_s: () => 0});
             const box = document.getElementById('contact');
             return [59, 61].map((age) => (drawLink('lost', since(age), {run}), [box.hidden, box.textContent]));
           }"""
    )
    assert shown[0][0] is True and shown[1][0] is False
    assert (
        "no contact since" in shown[1][1] and "on node1" in shown[1][1] and "/w/run_driver.txt" in shown[1][1]
    )
    bench.file("go", "")
    assert run.end().code == 0


def test_the_page_outlives_the_run(bench: Bench, browser: Browser) -> None:
    markup = "echo '</script><b>bold</b><!--' >&2; exit 4 # <script>alert(2)</script>"
    run, url = start(bench, tasks=f"true\n{markup}\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "failed", "1")
    bench.file("go", "")
    until_text(page, "banner", "has ended.*kept in /.*/run_page.html")
    assert run.end().code == 0
    saved = browser.open((bench.path / "run_page.html").as_uri())
    figure(saved, "done", "2")
    until_text(saved, "banner", "has ended.*Exit code 0")
    saved.locator(".cause summary").click()
    assert saved.locator(".command").inner_text() == markup
    assert saved.locator("#failures b, #failures script").count() == 0
    saved.wait_for_function("() => document.getElementById('timeline').dataset.bars === '3'")
    assert (
        saved.locator("tr[data-state]").count() == 1 and saved.locator("#link-text").inner_text() == "ended"
    )
    saved.locator("#theme").click()


def test_a_task_has_an_address(bench: Bench, browser: Browser) -> None:
    bad = "echo '<b>no</b>' >&2; exit 3 # [/] $HOME"
    run, url = start(bench, tasks=f"true\n{bad}\n{WAIT}\n")
    page = browser.open(url)
    figure(page, "failed", "1")
    assert page.locator("#task").is_hidden()
    page.locator(".cause summary").click()
    page.locator(".cause article a").click()
    until_text(page, "task-body", "exit code 3 on .*line 2.*stderr, 10 bytes <b>no</b>.*To run it again")
    assert page.url.endswith("/#task/1") and page.locator("#task-title").inner_text() == "Task 1"
    assert page.locator("#task-body pre.command").inner_text() == bad
    again = page.locator("#task-body pre.again").inner_text()
    done = subprocess.run(["bash", "-c", again], capture_output=True)
    assert done.returncode == 3 and done.stderr == b"<b>no</b>\n"
    page.reload()
    until_text(page, "task-body", "exit code 3")
    other = tab(browser, page, url.split("#")[0] + "#task/2")
    until_text(other, "task-body", "runs on .*To run it again")
    other.goto(url.split("#")[0] + "#task/99")
    until_text(other, "task-body", "It has not ended")
    page.locator("#task-close").click()
    assert page.locator("#task").is_hidden() and "#" not in page.url
    bench.file("go", "")
    until_text(page, "banner", "has ended")
    assert run.end().code == 0
    forgive(browser, "ERR_")
