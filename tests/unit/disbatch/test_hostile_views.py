"""Every view is fed texts that look like markup, move cursors, reorder text, or do not end: none fails, none obeys them."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_builders import context, engine, failure, running, snapshot
from report_builders import report_of, row, write

from disbatch.core.driver_events import Ending
from disbatch.core.failures import FailureGroups
from disbatch.core.letters import Sender, letter
from disbatch.core.mailbag import Parcel
from disbatch.core.printable import is_plain
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.digest import digest
from disbatch.monitor.once import page
from disbatch.monitor.progress import message, plain_line
from disbatch.report import program
from disbatch.report.terminal import print_report
from disbatch.web.picture.metrics import metrics
from disbatch.web.picture.picture import PageFacts, Picture
from disbatch.web.savedpage import saved_page

STATIC = Path(program.__file__).parents[1] / "web" / "static"
HOSTILE = [
    "[/]", "[bold]x[/bold][link=y]", "</script><script>alert(1)</script>", "<!--<b>&amp;", "\u202eexe.\u2066", "\x1b[2J\x9b1m",
    "a\u2028b\u2029c\x85d\ne\r\tf", "w" * 10_000, "word " * 2000, "\udcff\udc80", "{x} %s %(y)s $z", "...", "x" * 38 + "1...2" + "y" * 99, "",
]  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=50)
WIDTHS = (20, 80, 200)


def fed(text: str) -> RunSnapshot:
    return snapshot(
        engines=(engine(0, text, context=text),),
        contexts=(context(text),),
        tasks=(running(1, command=text)._replace(node=text),),
        failures=(failure(2, error=text)._replace(command=text, node=text),),
        barrier=text,
    )


def assert_plain(text: str) -> None:
    """Only line feeds are left."""
    assert [line for line in text.split("\n") if not is_plain(line)] == []


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_shown_of_a_run(text: str) -> None:
    shown(text)


@given(TEXTS)
def test_what_is_shown_of_a_run_whatever_its_names_are(text: str) -> None:
    shown(text)


def shown(text: str) -> None:
    s = fed(text)
    groups = FailureGroups()
    groups.add(1, 1, text)
    lines = [
        message(text, "error"),
        plain_line(s, 1.0),
        *digest(s, groups.largest(), Ending.COMPLETE, f"{text}_status.txt"),
    ]
    lines += [page(s, text, width) for width in WIDTHS]
    lines += letter(Sender(text, text, text, f"/w/{text}_status.txt"), Parcel(0.0, first=True), 1.0, s)
    for line in lines:
        assert_plain(line)
    rows = page(s, "T", 80).split("\n")
    assert all(len(line) <= 80 for line in rows[4:])
    families = metrics(s, text, text).split("\n")
    assert all(line.startswith(("# ", "disbatch_")) for line in families[:-1])


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_page_as_it_is_kept(text: str) -> None:
    picture = Picture(PageFacts(text, text, text, text, 0.0, "4", False))
    groups = FailureGroups()
    groups.add(1, 1, text)
    picture.say(1.0, "note", text)
    picture.tick(fed(text), groups.largest())
    kept = saved_page(STATIC, json.dumps(picture.whole()))
    empty = saved_page(STATIC, "{}")
    assert [kept.count(mark) for mark in ("<script", "</script>", "<!--", "<b>")] == [
        empty.count(mark) for mark in ("<script", "</script>", "<!--", "<b>")
    ]
    data = kept.split('id="picture">')[1].split("</script>")[0]
    assert json.loads(data)["run"]["name"] == text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_report(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = (
        text.encode("utf-8", "surrogateescape")
        .replace(b"/", b"_")
        .replace(b"\0", b"")[:100]
        .decode("utf-8", "surrogateescape")
    )
    node = text if is_plain(text) and text.strip() else "n1"
    command = text.replace("\n", " ")
    rows = [
        row(n, n, n + 1, node=node, code=n % 2, out=text, err=text[: 40 + 40 + 3], command=command)
        for n in range(4)
    ]
    path = write(tmp_path / f"{name}_status.txt", *rows)
    r = report_of(path)
    r.notes.append(text)
    out = io.StringIO()
    print_report(r, out, 10)
    assert_plain(out.getvalue())
    assert program.main([path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 4
    html = str(tmp_path / "page.html")
    assert program.main([path, "--html", html]) == 0
    written = Path(html).read_text("utf-8")
    body = written[written.index("<body") :]
    for mark in ("<b>&amp;", "<script>alert(1)", "\u202e", "\x1b", "\u2028", "\x85"):
        assert mark not in body
