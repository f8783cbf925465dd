"""The order of the import path, and that a program loads nothing before it is right."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from disbatch import importpath
from disbatch.importpath import arranged

ROOT = Path(importpath.ROOT)
LIBRARY = os.path.dirname(os.__file__)
ARCHIVE = "/usr/lib/python%d%d.zip" % sys.version_info[:2]
DYNAMIC = "/usr/lib/lib-dynload"


def test_the_standard_library_is_first_and_pythonpath_last() -> None:
    path = ["/root", "/named", "/work", ARCHIVE, LIBRARY, DYNAMIC, "/site"]
    assert arranged(path, "/root", ("/named", "/work")) == [
        *(ARCHIVE, LIBRARY, DYNAMIC),
        *("/root", "/site", "/named", "/work"),
    ]


def test_relative_entries_go_and_ours_is_there_once() -> None:
    assert arranged(["", "/site", "/root", LIBRARY], "/root", ()) == [LIBRARY, "/root", "/site"]
    assert arranged([LIBRARY, "/site"], "/root", ("/root",)) == [LIBRARY, "/root", "/site"]
    assert arranged([LIBRARY, "/site"], "/site", ()) == [LIBRARY, "/site"]


def test_what_another_program_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [LIBRARY, importpath.ROOT, "/site", "", "/a:b", "/named"])
    given = importpath.arguments("/root")
    assert given == ("/root", "/site:/named")
    monkeypatch.setattr(sys, "path", ["/root", LIBRARY, "/site", "/theirs"])
    monkeypatch.setattr(sys, "argv", ["-c", *given, "rest"])
    importpath.adopt()
    assert sys.path == [LIBRARY, "/root", "/site", "/theirs", "/named"]
    assert sys.argv == ["-c", "rest"]


@pytest.mark.parametrize("name", ["__init__", "importpath", "programs"])
def test_nothing_is_imported_before_the_path_is_right(name: str) -> None:
    """At their top these import only what every interpreter has loaded, and each other."""
    tree = ast.parse((ROOT / f"disbatch/{name}.py").read_text())
    found = [
        alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert set(found) <= {"os", "sys", "importpath"}


def test_a_program_loads_only_these(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {importpath.ROOT!r}); before = set(sys.modules); import disbatch.programs; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["disbatch", "disbatch.importpath", "disbatch.programs"]
