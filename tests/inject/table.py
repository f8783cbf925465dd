"""The results of many runs as a table for people. Pure."""

from collections import Counter
from collections.abc import Mapping

from tests.inject.bed import Outcome
from tests.inject.calls import Case

HEAD = "| call | error | runs | exit code 0 | a sentence, and resumed | failed |\n|---|---|---|---|---|---|"


def table(results: Mapping[Case, Outcome]) -> str:
    """A row for each call and error, and one for all; runs in which the call was not made so often are left out."""
    ended: dict[tuple[str, str], Counter[str]] = {}
    for case, outcome in results.items():
        if outcome.reached or outcome.ended == "failed":
            ended.setdefault((case.call, case.error), Counter())[outcome.ended] += 1
    rows = [_row(call, error, ended[call, error]) for call, error in sorted(ended)]
    return "\n".join([HEAD, *rows, _row("all", "", sum(ended.values(), Counter()))])


def _row(call: str, error: str, ended: Counter[str]) -> str:
    numbers = (ended.total(), ended["complete"], ended["resumed"], ended["failed"])
    return f"| {call} | {error} | {' | '.join(map(str, numbers))} |"
