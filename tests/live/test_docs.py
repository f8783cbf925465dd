"""README.md and docs/: every command in them is run, or stands in a list with the reason why not; the site builds."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_blocks import PAGES, ROOT, Block, blocks_of, make_programs, reader_environment, run_block

BLOCKS = {path.name: blocks_of(path) for path in PAGES}
RUN = {name: [b for b in blocks if b.kind == "sh run"] for name, blocks in BLOCKS.items()}

# Commands that no test runs as they stand, by page: a part of the line, and why.
SHOWN_ONLY: dict[str, dict[str, str]] = {
    "README.md": {
        "scripts/demo": "tests/live/test_scripts.py runs both",
        "python3 -m venv": "installs from a package index; test_help_shells.py installs the package",
    },
    "index.md": {"disBatch -s localhost:4": "run in start.md"},
    "start.md": {
        "python3 -m venv": "installs from a package index; test_help_shells.py installs the package",
        "bash-completion": "test_help_shells.py, which completes in both shells",
    },
    "resources.md": {"--gres=gpu:4": "tests/cluster/test_cluster_gpus.py, with the GPUs that a test bed has"},
    "mail.md": {"--mailTo": "tests/live/test_run_mail.py, which has a mail server"},
    "monitoring.md": {
        "--mon ": "tests/live/test_monitor_command.py, in a real terminal",
        "localhost:4 -w Tasks": "tests/live/test_run_web.py, and tests/cluster/test_web_page.py in a browser",
        "ssh -L 8000": "such hosts do not exist",
        "picture": "tests/live/test_run_web.py asks for it",
    },
    "pool.md": {"dbUtil.sh": "tests/cluster/test_cluster_pool.py"},
}


# README.md is run by test_scripts.py, which looks at what comes out as well
@pytest.mark.parametrize("name", [name for name, blocks in RUN.items() if blocks and name != "README.md"])
def test_commands_of_a_page_run_as_they_stand(name: str, tmp_path: Path) -> None:
    """All of a page in one folder, in order, each to the end that it announces."""
    programs = make_programs(tmp_path / "bin")
    folder = tmp_path / "here"
    folder.mkdir()
    env = reader_environment(programs, tmp_path)
    for block in RUN[name]:
        if not block.lacks:
            run_block(block, folder, env)
    if lacking := {block.lacks for block in RUN[name]} - {""}:
        pytest.skip(f"blocks that need {', '.join(sorted(lacking))} were not run: not installed")


def test_every_page_is_looked_at() -> None:
    assert sum(map(len, RUN.values())) >= 10
    assert {"README.md", "mail.md"} <= {name for name, blocks in RUN.items() if blocks}


@pytest.mark.parametrize("name", list(BLOCKS))
def test_every_block_has_a_mark_that_is_known(name: str) -> None:
    assert [block.where for block in BLOCKS[name] if not block.kind and block.rest] == []


@pytest.mark.parametrize("name", list(BLOCKS))
def test_commands_that_are_only_shown_have_a_reason(name: str) -> None:
    reasons = SHOWN_ONLY.get(name, {})
    shown = [block for block in BLOCKS[name] if block.kind == "sh"]
    without = [b.where for b in shown if not any(part in b.text for part in reasons)]
    unused = [part for part in reasons if not any(part in b.text for b in shown)]
    assert (without, unused) == ([], [])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_command_hides_in_an_indented_block(path: Path) -> None:
    text = re.sub(r"^```.*?^```$|^<!--.*?-->$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert (
        re.findall(r"^ {4,}(?:\S+=\S+ )*(?:disBatch|disbatch|sbatch|salloc|srun|pip|\./)\S* .*$", text, re.M)
        == []
    )


def test_the_check_sees_a_block_that_fails(tmp_path: Path) -> None:
    env = reader_environment(make_programs(tmp_path / "bin"), tmp_path)
    with pytest.raises(AssertionError, match="exit code 1"):
        run_block(Block("x.md", 1, "sh run", "", "false\ntrue\n"), tmp_path, env)
    with pytest.raises(AssertionError, match="exit code 0"):
        run_block(Block("x.md", 1, "sh run", "exit=3", "true\n"), tmp_path, env)


TASKS = [block for blocks in BLOCKS.values() for block in blocks if block.kind == "tasks"]


@pytest.mark.parametrize("block", TASKS, ids=lambda block: block.where)
def test_task_files_are_accepted(block: Block, tmp_path: Path) -> None:
    env = reader_environment(make_programs(tmp_path / "bin"), tmp_path)
    (tmp_path / "Tasks").write_text(block.text)
    command = Block(block.page, block.line, "sh run", "", "disBatch -s localhost:4 --dry-run Tasks")
    run_block(command, tmp_path, env)


def test_json_is_json() -> None:
    found = [block for blocks in BLOCKS.values() for block in blocks if block.kind == "json"]
    assert found
    for block in found:
        json.loads(block.text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text()):
        known = (path.parent / target).exists() or target == "reference.md"
        assert known, f"{path.name}: {target}"


# -- every message of the program stands in the page on troubleshooting

SENTENCES = {"UsageError", "MachineError", "StatusFileError", "RunOverError"}
# about options, and complete in themselves
SELF_EXPLAINING = ("exclude each other", "they need --mon", "-s adds machines", "--html needs plotly")


def words(text: str) -> list[str]:
    return re.findall(r"[\w'./_-]+", text.lower())


def constant_parts(node: ast.expr) -> list[str]:
    """The texts within a literal, an f-string or a sum of them."""
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def messages() -> list[tuple[str, list[str]]]:
    """Where each error is raised, and the fixed parts of what it says."""
    found = []
    for path in sorted((ROOT / "disbatch").rglob("*.py")):
        if path.parts[-2] in ("api", "help"):
            continue  # one raises in the user's own program, the other is for the build
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SENTENCES:
                parts = [part for argument in node.args for part in constant_parts(argument)]
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", parts))
    return found


def is_told(parts: list[str], page: str) -> bool:
    """Whether four words in a row, or all of a shorter part, stand in the page."""
    if any(known in part for part in parts for known in SELF_EXPLAINING):
        return True
    runs = [
        part_words[i : i + 4] for part_words in map(words, parts) for i in range(max(1, len(part_words) - 3))
    ]
    longest = max(map(len, runs), default=0)
    return longest < 3 or any(len(run) > 1 and f" {' '.join(run)} " in page for run in runs)


def test_every_error_stands_in_the_page_on_troubleshooting() -> None:
    page = f" {' '.join(words((ROOT / 'docs/troubleshooting.md').read_text()))} "
    everything = messages()
    assert len(everything) > 50
    assert not is_told(["this message is in no page at all"], page)
    assert [where for where, parts in everything if not is_told(parts, page)] == []


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed")
    argv = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in PAGES if path.name != "README.md"}
    for page in (pages | {"reference"}) - {"index"}:
        assert (tmp_path / "site" / page / "index.html").exists(), page
        text = (tmp_path / "site" / page / "index.html").read_text()
        assert not re.search(r"```|sh run|&lt;!--|<td>---", text), page
    reference = (tmp_path / "site/reference/index.html").read_text()
    assert "--force-resume" in reference and "disbatch-report" in reference
    outside = re.compile(r'(?:src|href)="(https?://[^"]+)"')
    loaded = [
        u for u in outside.findall(reference) if not u.startswith(("https://squidfunk", "https://github.com"))
    ]
    assert loaded == [], "the site loads something from elsewhere"
