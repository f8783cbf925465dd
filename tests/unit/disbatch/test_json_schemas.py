"""JSON for programs has a number for its form, and each field stands in the documentation."""

import dataclasses
import json
import re
import typing
from pathlib import Path

import pytest
from monitor_builders import snapshot
from report_builders import row, write

from disbatch.core import snapshot as snapshots
from disbatch.report import model, program
from disbatch.web.picture.causes import Example
from disbatch.web.picture.picture import PageFacts, Picture

DOCS = Path(__file__).parents[3] / "docs"


def documented(page: str, heading: str, until: str) -> set[str]:
    """The words in code style of a part of a page."""
    text = (DOCS / page).read_text()
    part = text[text.index(heading) :]
    return set(re.findall(r"`([a-z0-9_]+)`", part[: part.index(until, 1)]))


def test_a_snapshot() -> None:
    body = json.loads(snapshot().to_json())
    assert body["schema"] == 1
    names = set(body) | {
        name for table in ("engines", "contexts", "tasks", "failures") for name in body[table][0]
    }
    assert names - documented("monitoring.md", "### As JSON", "## Web page") == set()
    assert snapshots.read_snapshot(snapshot().to_json()) == snapshot()


def test_the_picture_of_the_page() -> None:
    picture = Picture(PageFacts("T", "J", "h", "s", 0.0, "4", False))
    picture.tick(snapshot(), [])
    body = picture.whole()
    assert body["schema"] == 1 and isinstance(body["number"], int)
    names = {*body, *body["run"], *body["counts"], *Example._fields}
    assert names - documented("monitoring.md", "| Field of `/picture`", "`GET /metrics`") == set()


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([write(tmp_path / "run_status.txt", row(0, 0, 1)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
    names = set()
    for kind in vars(model).values():
        if dataclasses.is_dataclass(kind):
            names |= (
                {field.name for field in dataclasses.fields(kind)}
                if kind in _reached(model.Report)
                else set()
            )
    assert names and names - documented("report.md", "## As JSON", "## What the figures mean") == set()


def _reached(kind: type) -> set[type]:
    found = {kind}
    for hint in typing.get_type_hints(kind).values():
        for part in (
            hint,
            *typing.get_args(hint),
            *[b for a in typing.get_args(hint) for b in typing.get_args(a)],
        ):
            if dataclasses.is_dataclass(part):
                found |= _reached(typing.cast(type, part))
    return found
