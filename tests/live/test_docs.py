"""README.md and docs/: every command in them is run, or stands in a list with the reason why not; the site builds."""

import ast
import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from docs_blocks import PAGES, ROOT, Block, blocks_of, make_programs, reader_environment, run_block

from disbatch.help.__main__ import programs as parsers

BLOCKS = {path.name: blocks_of(path) for path in PAGES}
RUN = {name: [b for b in blocks if b.kind == "sh run"] for name, blocks in BLOCKS.items()}

# Commands that no test runs as they stand, by page: a part of the line, and why.
SHOWN_ONLY: dict[str, dict[str, str]] = {
    "README.md": {
        "scripts/demo": "tests/live/test_scripts.py runs both",
        "python3 -m venv": "installs from a package index; test_help_shells.py installs the package",
    },
    "start.md": {
        "python3 -m venv": "installs from a package index; test_help_shells.py installs the package",
        "bash-completion": "test_help_shells.py, which completes in both shells",
    },
    "monitoring.md": {"ssh -L 8000": "a tunnel to a host of the reader's"},
}


class Post(Controller):
    """A mail server that takes everything."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.mails: list[str] = []
        super().__init__(self, hostname="127.0.0.1", port=port)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content.decode())
        return "250 accepted"

    def __enter__(self) -> "Post":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# README.md is run by test_scripts.py, which looks at what comes out as well
@pytest.mark.parametrize("name", [name for name, blocks in RUN.items() if blocks and name != "README.md"])
def test_commands_of_a_page_run_as_they_stand(name: str, tmp_path: Path) -> None:
    """All of a page in one folder, in order, each to the end that it announces."""
    programs = make_programs(tmp_path / "bin")
    folder = tmp_path / "here"
    folder.mkdir()
    with Post() as post:
        env = reader_environment(programs, tmp_path, DISBATCH_SMTP_PORT=str(post.port))
        for block in RUN[name]:
            if not block.lacks:
                run_block(block, folder, env)
    assert (len(post.mails) > 0) == (name == "mail.md"), post.mails
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


# -- commands within the text, in tables, and in blocks that are not run

OURS = re.compile(
    r"(?:^|[\s|`({])(?:\./)?(disBatch|disbatch-ctl|disbatch-report|\w*_dbUtil\.sh)(?= |$)(.*)", re.M
)
CHOICES = {
    option: program.name
    for program, _ in parsers().values()
    for choice in program.options
    for option in choice.names
}
OF_OTHERS = {  # of Slurm, ssh, pip, our servers and benchmarks
    "--requeue", "--open-mode", "--wait", "--no-kill", "--exact", "--ntasks-per-node", "--array", "--gres", "--wrap",
    "--plain", "--info-file", "--json", "--install-peers", "--markdown", "--strict",
}  # fmt: skip


def options_of(name: str) -> dict[str, bool]:
    """The options of one of our programs, and whether each wants a value."""
    program, _ = parsers()["disbatch-ctl" if name.endswith("_dbUtil.sh") else name]
    return {each: option.needs_value for option in program.options for each in option.names}


def wrong_options(text: str) -> list[str]:
    """The options of our programs' commands in a text that these programs do not have."""
    found = []
    for name, rest in OURS.findall(text.replace("\\\n", " ")):
        known = options_of(name)
        command = re.split(r"[|;&<>`#]| - ", rest)[0]
        try:
            words = shlex.split(command)
        except ValueError:  # a quote that goes on in the next line
            words = command.split()
        skip = False
        for word in words:
            option = word.partition("=")[0]
            if not skip and re.match(r"--?[A-Za-z]", option) and option not in known:
                found.append(f"{name} {option}")
            skip = not skip and known.get(word, False)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_options_in_the_text_exist(path: Path) -> None:
    """Those of whole commands with their program; those that stand alone with any."""
    text = path.read_text()
    assert wrong_options(text) == []
    if path.name != "moving.md":  # which has the options of other programs
        alone = set(re.findall(r"`(--[A-Za-z][\w-]*)", text))
        assert alone - CHOICES.keys() - OF_OTHERS == set()


def test_the_check_of_options_sees_a_wrong_one() -> None:
    assert wrong_options("`disBatch -s a:1 --dryrun Tasks` and disbatch-ctl x --mon") == ["disBatch --dryrun"]
    assert wrong_options("./PREFIX_dbUtil.sh --once --web\n") == ["PREFIX_dbUtil.sh --web"]
    assert wrong_options("disBatch -l --odd -s x:1 T; ls --all") == []


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

SENTENCES = {"UsageError", "MachineError", "StatusFileError", "ListChangedError", "RunOverError"}
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
        pictures = re.findall(r'<img[^>]* src="([^"]+)"', text)
        assert [src for src in pictures if not (tmp_path / "site" / page / src).exists()] == [], page
    reference = (tmp_path / "site/reference/index.html").read_text()
    assert "--force-resume" in reference and "disbatch-report" in reference
    outside = re.compile(r'(?:src|href)="(https?://[^"]+)"')
    loaded = [
        u for u in outside.findall(reference) if not u.startswith(("https://squidfunk", "https://github.com"))
    ]
    assert loaded == [], "the site loads something from elsewhere"
