"""The examples of docs/api.md are programs that run."""

import re
import sys

import pytest
from disbatch_runs import ROOT, Bench

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/api.md").read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 6
    assert any("== 74 and tries < TRIES" in example for example in EXAMPLES)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(bench: Bench, number: int) -> None:
    program = bench.file("example.py", EXAMPLES[number])
    done = bench.start(program=[sys.executable, str(program)]).end()
    assert done.code == 0, done.err
    assert done.err == ""


def test_at_most_eight_more_tries(bench: Bench) -> None:
    (example,) = [example for example in EXAMPLES if "TRIES = 9" in example]
    text = example.replace("% 5", "% 1000").split("assert run_all")[0] + "print(run_all([1]))\n"
    done = bench.start(program=[sys.executable, str(bench.file("example.py", text))]).end()
    assert done.out == "{1: (74, 9)}\n", done.err
