"""The page and the tables: nothing of a command becomes markup, and charts get the numbers that they should."""

import base64
import io
import json
import re
import tomllib
from array import array
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_builders import barrier, row, write

from disbatch.monitor.digest import how_ended
from disbatch.report import charts as charts_module
from disbatch.report.charts import histogram
from disbatch.report.figures import make_report
from disbatch.report.page import json_in_html, page
from disbatch.report.reader import StatusFiles
from disbatch.report.terminal import bar, print_report
from disbatch.report.words import core_hours, share, size, span

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'\"$title"


class Elements(HTMLParser):
    """The elements of a page, without what stands in scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*paths: str) -> tuple[str, dict]:
    with StatusFiles(paths) as files:
        none = [None] * len(files.paths)
        report, times = make_report(files.rows, files.paths, files.notes, none, files.record, how_ended, 10)
        text = page(report, times, files.rows, none, files.record)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    return text, json.loads(data[1])


def numbers(code: str, text: str) -> list:
    values = array(code)
    values.frombytes(base64.b64decode(text))
    return list(values)


def test_nothing_of_a_command_becomes_markup(tmp_path: Path) -> None:
    lines = [row(n, n, n + 1, command=EVIL, node=EVIL[:40], out=EVIL, err=EVIL, code=n) for n in range(3)]
    text, data = page_of(write(tmp_path / f"{EVIL[9:17]}.txt", *lines))
    parsed = Elements()
    parsed.feed(text)
    assert parsed.names.count("script") == 3  # data, plotly, ours
    assert parsed.names.count("img") == 0
    assert EVIL in parsed.text
    assert data["timeline"]["command"] == [EVIL] * 3


def test_json_cannot_end_its_element() -> None:
    text = json_in_html({"a": "</script><!--&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!--&"}


def test_the_page_forbids_every_request(tmp_path: Path) -> None:
    text, _ = page_of(write(tmp_path / "x", row(0, 0, 1)))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';") and "http" not in policy and "connect-src" not in policy
    ours = text[: text.index("<script>")]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", ours)


def test_an_empty_file_makes_a_page(tmp_path: Path) -> None:
    text, data = page_of(write(tmp_path / "x"))
    assert "no task has finished yet" in text
    assert data["durations"] is None


def test_tasks_are_drawn_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(5, 0, 4, node="b"), row(6, 0, 2, node="b", code=3), row(7, 2, 6, node="b"), row(8, 1, 2, node="a"))  # fmt: skip
    t = page_of(path)[1]["timeline"]
    assert t["kind"] == "tasks"
    assert t["lanes"] == [["a", 1], ["b", 2]]
    drawn = [*zip(numbers("H", t["lane"]), numbers("f", t["begin"]), numbers("f", t["length"]), numbers("d", t["task"]), numbers("i", t["code"]), t["command"], strict=True)]  # fmt: skip
    assert drawn == [
        (0, 1.0, 1.0, 8.0, 0, "work 8"),
        (1, 0.0, 4.0, 5.0, 0, "work 5"),
        (2, 0.0, 2.0, 6.0, 3, "work 6"),
        (2, 2.0, 4.0, 7.0, 0, "work 7"),
    ]


@pytest.mark.parametrize(("most_lanes", "lanes", "by"), [(10, 4, "slot"), (3, 2, "node"), (1, 1, "2 nodes")])
def test_many_tasks_are_drawn_as_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_lanes: int, lanes: int, by: str
) -> None:
    monkeypatch.setattr(charts_module, "MAX_DRAWN_TASKS", 3)
    monkeypatch.setattr(charts_module, "MAX_LANES", most_lanes)
    lines = [row(n, 0, 10, node=f"n{n // 2}") for n in range(3)] + [row(3, 5, 10, node="n1", code=1)]
    t = page_of(write(tmp_path / "x", *lines))[1]["timeline"]
    assert (t["kind"], t["by"], sum(slots for _, slots in t["lanes"])) == ("shares", by, lanes)
    busy, failed = numbers("B", t["busy"]), numbers("B", t["failed"])
    assert len(busy) == len(failed) == lanes * t["bins"]
    assert sum(busy) / len(busy) == pytest.approx(255 * 35 / 40, rel=0.01)
    assert sum(failed) / len(failed) == pytest.approx(255 * 5 / 40, rel=0.02)


def test_the_curve_has_slots_tails_and_barriers(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 2), row(1, 0, 4), barrier(2, 1, 4), row(3, 4, 6), row(4, 4, 8))
    data = page_of(path)[1]
    curve = data["curve"]
    assert data["end"] == 8.0
    assert curve["slots"] == [[0.0, 2], [8.0, 0]]
    assert curve["tails"] == [[2.0, 4.0], [6.0, 8.0]]
    assert curve["barriers"] == [[4.0, 3]]
    assert sum(curve["busy"]) / len(curve["busy"]) == pytest.approx(12 / 8, abs=0.01)


def test_runs_of_a_chain_stand_side_by_side(tmp_path: Path) -> None:
    first = write(tmp_path / "a", row(0, 0, 10))
    second = write(tmp_path / "b", row(1, 5000, 5010))
    data = page_of(first, second)[1]
    assert data["end"] == pytest.approx(20.2)
    assert numbers("f", data["timeline"]["begin"]) == pytest.approx([0.0, 10.2])


def test_histograms() -> None:
    assert histogram([[], []], [], str) is None
    wide = histogram([[0.001, 0.01], [100.0]], [0.001, 1.0, 100.0], lambda v: f"{v:g}")
    assert wide is not None
    assert [sum(counts) for counts in wide["counts"]] == [2, 1]
    assert wide["counts"][0][0] == 1 and wide["counts"][1][-1] == 1
    assert wide["words"] == ["0.001", "1", "100"] and wide["ticks"] == pytest.approx([-3, 0, 2])
    even = histogram([[1.0, 1.0]], [], str)
    assert even is not None and sum(even["counts"][0]) == 2
    marked = histogram([[50.0]], [], str, marks=[(80.0, "inside"), (200.0, "outside")], from_to=(0.0, 100.0))
    assert marked is not None and marked["marks"] == [[80.0, "inside"]] and marked["ticks"][-1] == 100.0


def test_what_the_page_is_made_of_is_installed() -> None:
    root = Path(charts_module.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    there = {
        path.name for path in (root / "disbatch/report").iterdir() if path.is_file() and path.suffix != ".py"
    }
    assert there == set(project["tool"]["setuptools"]["package-data"]["disbatch.report"])
    assert project["project"]["scripts"]["disbatch-report"] == "disbatch.programs:report"


def test_words() -> None:
    assert [span(s) for s in (0, 0.0123, 0.9996, 9.994, 9.996, 59.9, 59.96, 3599.4, 3600, 90061)] == [
        "0 ms", "12 ms", "1.00 s", "9.99 s", "10.0 s", "59.9 s", "1:00", "59:59", "1:00:00", "1 d 01:01:01",
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1536, 12 * 2**20, 3.2 * 2**30)] == [
        "0 B",
        "999 B",
        "1.5 KiB",
        "12 MiB",
        "3.2 GiB",
    ]
    assert [share(p) for p in (0, 0.012, 0.5, 1)] == ["0 %", "1.2 %", "50 %", "100 %"]
    assert [core_hours(s) for s in (36, 3600, 72000, 36e6)] == ["0.0100", "1.00", "20.0", "10,000"]
    assert bar(0.5) == "▇▇▇▇▇·····"


def test_tables_fit_the_width_and_take_commands_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [row(n, n, n + 1.5, command="[red]x[/red] " + "y" * 200, node="a-node-with-quite-a-long-name", code=n % 2, err="[bold]e\n", out="o") for n in range(9)]  # fmt: skip
    path = write(tmp_path / "x", *lines)
    for width in (80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        with StatusFiles([path]) as files:
            report, _ = make_report(files.rows, files.paths, [], [None], files.record, how_ended, 10)
        stream = io.StringIO()
        print_report(report, stream, 10)
        text = stream.getvalue()
        long = [line for line in text.splitlines() if len(line) > width]
        assert not long
        assert "\x1b" not in text
        assert "[red]x[/red] y" in text and "[bold]e" in text
        assert not any(line != line.rstrip() for line in text.splitlines())
