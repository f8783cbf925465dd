"""Names of this machine need no ssh, and add up."""

import socket

import pytest

from disbatch.contexts.base import Wishes
from disbatch.contexts.ssh import Ssh
from disbatch.core.errors import UsageError
from disbatch.options import build_parser
from disbatch.runtime.settings import settings_from


def test_they_add_up_where_the_first_of_them_stands() -> None:
    wishes = Wishes(("a:1,me7:2", "localhost:3", "b:1"), own=frozenset({"me7"}))
    found = Ssh().allocate({}, wishes, {})
    assert [(node.name, node.slots) for node in found.nodes] == [("a", 1), ("localhost", 5), ("b", 1)]


def test_the_machine_s_own_name_starts_without_ssh() -> None:
    options = build_parser().parse_args(["-s", f"{socket.gethostname()}:2", "Tasks"])
    (node,) = settings_from(options, {}).allocation.nodes
    assert (node.name, node.slots) == ("localhost", 2)


@pytest.mark.parametrize(
    ("text", "expected"), [("h:0", ("h", 0)), ("h:65535", ("h", 65535)), ("h:65536", None), ("h:", None)]
)
def test_use_address_may_leave_the_port_open(text: str, expected: tuple[str, int] | None) -> None:
    options = build_parser().parse_args(["-s", "localhost:1", "--use-address", text, "Tasks"])
    if expected is None:
        with pytest.raises(UsageError, match="HOST:PORT"):
            settings_from(options, {})
    else:
        assert settings_from(options, {}).use_address == expected
