"""The arrows of the house, read from the imports: who may import whom, no circles, and a core that stays pure."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# room -> rooms of the house that it may import (its own always)
ARROWS = {
    "disbatch": {"disbatch.core"},
    "disbatch.__main__": {"disbatch.programs"},
    "disbatch.disBatch": {"disbatch", "disbatch.programs"},
    "disbatch.programs": {
        "disbatch",
        "disbatch.cli",
        "disbatch.ctl",
        "disbatch.report",
        "disbatch.runtime",
    },
    "disbatch.cli": {
        "disbatch",
        "disbatch.monitor",
        "disbatch.web",
        "disbatch.api",
        "disbatch.runtime",
        "disbatch.contexts",
        "disbatch.core",
    },
    "disbatch.ctl": {"disbatch", "disbatch.cli", "disbatch.monitor", "disbatch.runtime", "disbatch.core"},
    "disbatch.help": {"disbatch"},
    "disbatch.help.__main__": {
        "disbatch",
        "disbatch.help",
        "disbatch.cli",
        "disbatch.ctl",
        "disbatch.report",
    },
    "disbatch.api": {"disbatch", "disbatch.runtime", "disbatch.contexts", "disbatch.core", "kvsstcp"},
    "disbatch.monitor": {"disbatch", "disbatch.core", "kvsstcp"},
    "disbatch.monitor.__main__": {"disbatch.programs"},
    "disbatch.report.__main__": {"disbatch.programs"},
    "disbatch.report": {"disbatch", "disbatch.monitor", "disbatch.core", "kvsstcp"},
    "disbatch.web": {"disbatch", "disbatch.web.picture", "disbatch.runtime", "disbatch.core"},
    "disbatch.web.picture": {"disbatch.core"},
    "disbatch.runtime": {"disbatch", "disbatch.contexts", "disbatch.core", "kvsstcp"},
    "disbatch.contexts": {"disbatch.core"},
    "disbatch.core": set(),
    "kvsstcp": set(),
}
IMPURE = {
    "os", "sys", "time", "socket", "ssl", "select", "selectors", "signal", "subprocess", "multiprocessing", "asyncio",
    "logging", "random", "secrets", "uuid", "threading", "concurrent", "queue", "io", "pathlib", "shutil", "tempfile", "glob",
    "fcntl", "pwd", "getpass", "platform", "locale", "mmap", "ctypes", "pickle", "datetime", "contextvars", "urllib", "http",
    "psutil", "rich", "textual", "aiohttp", "plotly", "cryptography", "hostlist",
}  # fmt: skip
THIRD_PARTY = {
    "disbatch.cli": set(),
    "disbatch.contexts": {"hostlist"},
    "disbatch.core": {"msgspec"},  # bytes from values and back, and nothing else
    "disbatch.monitor": {"rich", "textual", "plotly", "psutil"},
    "disbatch.web": {"aiohttp"},
    "disbatch.report": {"rich", "plotly"},
    "disbatch.runtime": {"psutil", "hostlist"},
    "kvsstcp": {"cryptography"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Every module that the source imports, wherever in it, except for type checking alone."""
    found: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([base] if base else [])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
            found.add(base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "importlib.import_module",
            "import_module",
        ):
            name = ast.unparse(node.args[0])
            if not name.startswith("f'{__name__}."):  # a package that imports its own parts late
                found.add("importlib of " + name)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def room(module: str) -> str:
    """The room that a module of the house belongs to; empty for modules from elsewhere."""
    if module.split(".", maxsplit=1)[0] == "kvsstcp":
        return "kvsstcp"
    names = [
        name for name in ARROWS if module == name or (name != "disbatch" and module.startswith(name + "."))
    ]
    if names:
        return max(names, key=len)
    return "disbatch" if module.split(".", maxsplit=1)[0] == "disbatch" else ""


def complaints(module: str, found: set[str], stdlib: frozenset[str] | set[str]) -> list[str]:
    """What is wrong with the imports of one module."""
    mine, wrong = room(module), []
    for name in sorted(found):
        top = name.split(".")[0]
        theirs = room(name)
        if theirs:
            # `from disbatch import core` names disbatch as well as disbatch.core: the room it reaches is what counts
            is_root = name == "disbatch" and any(other.startswith("disbatch.") for other in found)
            if theirs != mine and theirs not in ARROWS[mine] and not is_root:
                wrong.append(f"{module} imports {name}")
        elif mine == "disbatch.core" and (top in IMPURE or top not in stdlib | THIRD_PARTY[mine]):
            wrong.append(f"{module} imports {name}: the core is pure")
        elif mine == "disbatch.contexts" and top in IMPURE - {"hostlist"}:
            wrong.append(f"{module} imports {name}: contexts are pure")
        elif mine == "disbatch.web.picture" and top in IMPURE:
            wrong.append(f"{module} imports {name}: the picture is pure")
        elif top not in stdlib and top not in THIRD_PARTY.get(mine, set()):
            wrong.append(f"{module} imports {name}, which is not the room's to use")
    return wrong


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Circles of modules that import each other."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
            return
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            walk(other, [*trail, module])
        done.add(module)

    for module in sorted(graph):
        walk(module, [])
    return found


@pytest.fixture(scope="module")
def house() -> dict[str, set[str]]:
    """Module -> everything that it imports."""
    paths = [*(ROOT / "disbatch").rglob("*.py"), *(ROOT / "kvsstcp").rglob("*.py")]
    return {
        module_name(path): imports(path.read_text(), module_name(path), is_package=path.name == "__init__.py")
        for path in paths
    }


def test_every_arrow_runs_one_way(house: dict[str, set[str]]) -> None:
    wrong = [
        text
        for module, found in sorted(house.items())
        for text in complaints(module, found, sys.stdlib_module_names)
    ]
    assert len(house) > 20
    assert wrong == []


def test_no_circles(house: dict[str, set[str]]) -> None:
    graph = {
        module: {name for name in found if name in house and name != module}
        for module, found in house.items()
    }
    # a package's __init__ is imported with each of its modules; only what it takes from them counts
    packages = {module for module in house if any(other.startswith(module + ".") for other in house)}
    graph = {
        module: {n for n in found if n not in packages or n == "kvsstcp"} for module, found in graph.items()
    }
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("disbatch.core.made_up", "import time"),
        ("disbatch.core.made_up", "from os import path"),
        ("disbatch.core.made_up", "def f():\n    import random"),
        ("disbatch.core.made_up", "import asyncio.events as e"),
        ("disbatch.core.made_up", "from disbatch.runtime import settings"),
        ("disbatch.core.made_up", "from ..runtime.settings import GRACE_S"),
        ("disbatch.core.made_up", "from kvsstcp.values import Value"),
        ("disbatch.core.made_up", "import numpy"),
        ("disbatch.core.made_up", "__import__('os')"),
        ("disbatch.monitor.made_up", "from disbatch.runtime.settings import GRACE_S"),
        ("disbatch.monitor.made_up", "from disbatch import runtime"),
        ("disbatch.report.made_up", "from disbatch.runtime.settings import GRACE_S"),
        ("disbatch.report.made_up", "import numpy"),
        ("disbatch.monitor.made_up", "import disbatch.report.rows"),
        ("disbatch.contexts.made_up", "import os"),
        ("disbatch.web.picture.made_up", "import time"),
        ("disbatch.web.picture.made_up", "from disbatch.web import hub"),
        ("disbatch.web.made_up", "from disbatch import monitor"),
        ("disbatch.runtime.made_up", "from disbatch.web import page"),
        ("disbatch.contexts.made_up", "import disbatch.runtime.bus"),
        ("disbatch.runtime.made_up", "from disbatch import monitor"),
        ("disbatch.runtime.made_up", "import disbatch.cli"),
        ("disbatch.runtime.made_up", "import numpy"),
        ("kvsstcp.made_up", "import disbatch"),
        ("kvsstcp.made_up", "def f():\n    from disbatch.core import model"),
    ],
)
def test_the_checker_sees_a_forbidden_import(module: str, source: str) -> None:
    assert complaints(module, imports(source, module), sys.stdlib_module_names) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("disbatch.core.made_up", "import json\nfrom disbatch.core.model import Task"),
        ("disbatch.core.made_up", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os"),
        ("disbatch.monitor.made_up", "import rich.progress, os"),
        ("disbatch.runtime.made_up", "import kvsstcp.values\nfrom disbatch.contexts import ssh"),
    ],
)
def test_the_checker_accepts_what_is_allowed(module: str, source: str) -> None:
    assert complaints(module, imports(source, module), sys.stdlib_module_names) == []


def test_the_checker_sees_a_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
