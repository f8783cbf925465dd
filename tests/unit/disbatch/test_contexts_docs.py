"""The example scheduler of docs/contexts.md does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

from disbatch.contexts.base import Scheduler, Wishes
from disbatch.core.errors import UsageError

PAGE = Path(__file__).parents[3] / "docs" / "contexts.md"


@pytest.fixture
def engine() -> Scheduler:
    (code,) = re.findall(r"```python scheduler\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    made: Scheduler = names["GridEngine"]()
    return made


def test_it_is_asked_and_turns_hosts_into_slots(engine: Scheduler) -> None:
    environ = {"PE_HOSTFILE": "/spool/hosts", "JOB_ID": "7"}
    assert engine.here(environ, Wishes()) and not engine.here({}, Wishes())
    assert engine.questions(environ, Wishes()) == {"hosts": ("cat", "/spool/hosts")}
    found = engine.allocate(
        environ, Wishes(tasks_per_node=3), {"hosts": "a 4 q UNDEFINED\nb 2 q UNDEFINED\n"}
    )
    assert [(node.name, node.slots, node.cores) for node in found.nodes] == [("a", 3, 4), ("b", 2, 2)]
    assert engine.label(environ) == "J7"
    argv = engine.launch_argv(found.nodes[0], "/f", ["python", "-c", "x"])
    assert argv[:3] == ("qrsh", "-inherit", "a")


def test_without_an_answer_it_says_so(engine: Scheduler) -> None:
    with pytest.raises(UsageError, match="/spool/hosts"):
        engine.allocate({"PE_HOSTFILE": "/spool/hosts"}, Wishes(), {"hosts": None})
