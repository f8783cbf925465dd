"""What bandit's rules find in the code is answered in docs/security.md, rule by rule and file by file."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def answers() -> dict[str, set[str]]:
    """The files of each rule, as the table has them."""
    rows = re.findall(
        r"^\| (S\d+),[^|]*\|([^|]*)\|", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
    )
    return {rule: set(re.findall(r"`([^`]+)`", where)) for rule, where in rows}


def findings() -> dict[str, set[str]]:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "S",
        "--no-cache",
        "--output-format",
        "json",
    ]
    done = subprocess.run(
        [*command, "disbatch", "kvsstcp", "setup.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found: dict[str, set[str]] = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["code"], set()).add(str(Path(each["filename"]).relative_to(ROOT)))
    return found


def test_every_finding_has_an_answer_and_every_answer_a_finding() -> None:
    found, answered = findings(), answers()
    # Said of all files at once.
    assert found.pop("S101") and answered.pop("S101") == set()
    assert found == answered
