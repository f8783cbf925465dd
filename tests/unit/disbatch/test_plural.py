"""Counts in what users read: one is not many."""

import re
from pathlib import Path

import pytest

from disbatch.core import notices
from disbatch.core.plural import counted, noun

PACKAGE = Path(__file__).parents[3] / "disbatch"


def test_counts() -> None:
    assert [counted(n, "running task") for n in (0, 1, 2)] == [
        "0 running tasks",
        "1 running task",
        "2 running tasks",
    ]
    assert [counted(n, "child", "children") for n in (1, 2)] == ["1 child", "2 children"]
    assert (noun(1, "gets", "get"), noun(3, "gets", "get")) == ("gets", "get")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (notices.stopping(1), notices.stopping(2)),
        (notices.few_gpus("n", 1, 1), notices.few_gpus("n", 2, 4)),
        (notices.run_alone(1, 2), notices.run_alone(2, 2)),
        (notices.context_joined("A", 1, 1), notices.context_joined("A", 2, 2)),
        (notices.engine_lost("n", 1, "x"), notices.engine_lost("n", 2, "x")),
    ],
)
def test_sentences(one: str, two: str) -> None:
    assert not re.search(r"\b1 (\w+ )?(tasks|slots|GPUs|engines)\b", one)
    assert re.search(r"\b2 (\w+ )?(tasks|slots|GPUs|engines)\b", two)


def test_verbs_agree() -> None:
    assert notices.stopping(1) == "stopping: 1 running task gets TERM, and KILL if it does not end"
    assert notices.stopping(2) == "stopping: 2 running tasks get TERM, and KILL if they do not end"
    assert notices.run_alone(1, 2).startswith("1 task was running")


def test_no_plural_is_made_by_hand() -> None:
    by_hand = re.compile(
        r"""['"]s['"] \*|\{(slots|cores|engines|tasks|running|cpus|len\([^}]*\))\} (slots|cores|engines|tasks|nodes)\b"""
    )
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if by_hand.search(line) and "ValueError" not in line
    ]
    assert found == []
