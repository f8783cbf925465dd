"""What `pip install` brings, and the command that is named when something is missing all the same."""

import ast
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from disbatch import packages
from disbatch.contexts.slurm import names_in
from disbatch.core.errors import PackageMissingError

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def imported() -> set[str]:
    """Every module from elsewhere that disBatch imports, wherever."""
    found = set()
    for path in [*(ROOT / "disbatch").rglob("*.py"), *(ROOT / "kvsstcp").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"disbatch", "kvsstcp", "_typeshed"}


def test_a_plain_installation_has_all_that_is_imported() -> None:
    brought = {re.split(r"[<>=]", each)[0] for each in PROJECT["dependencies"]} | {"setuptools"}
    # Where scontrol does not work on a node of a Slurm job; said with the command.
    assert (imported() | {"plotly"}) - brought == {"hostlist"}


def test_extras_of_before_can_still_be_named() -> None:
    extras = PROJECT["optional-dependencies"]
    assert extras["web"] == extras["monitor"] == [] and {"slurm", "all"} <= set(extras)


def test_the_command_is_for_the_python_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "my env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (python.parents[1] / "pyvenv.cfg").touch()
    monkeypatch.setattr(sys, "executable", str(python))
    command = shlex.split(packages.install_command(["hostlist", "rich"]))
    assert command == [str(python), "-m", "pip", "install", "python-hostlist", "rich"]


def test_a_clone_that_a_python_of_the_system_runs_has_a_script_for_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert packages.install_command(["rich"]) == shlex.quote(str(ROOT / "scripts" / "setup-venv"))
    # Installed, not a clone.
    monkeypatch.setattr(packages, "ROOT", str(tmp_path))
    assert packages.install_command(["rich"]) == f"{sys.executable} -m pip install rich"


def test_a_node_list_that_nobody_can_expand_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hostlist", None)
    with pytest.raises(PackageMissingError, match="does it without is not installed") as caught:
        names_in("n[1-2]", None)
    assert caught.value.module == "hostlist"


def test_what_is_missing_is_known_without_importing_it() -> None:
    assert packages.missing(["rich", "no_such_module"]) == ["no_such_module"]
