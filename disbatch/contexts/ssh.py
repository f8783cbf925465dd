"""The ssh context: hosts with counts of cores, from `-s HOST:COUNT` or DISBATCH_SSH_NODELIST."""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence

from disbatch.contexts.base import Allocation, NodeShare, Scheduler, Wishes, allocate, is_node_name
from disbatch.contexts.launchwords import REACHED
from disbatch.core.errors import UsageError
from disbatch.core.model import NodeSpec

LOCALHOST = "localhost"
NODELIST_VARIABLE = "DISBATCH_SSH_NODELIST"
MAX_CORES = 100_000  # of one host; a larger count is a slip of the keyboard
# The user's configuration says what people want of a login: a command of its own, ports that are forwarded. An engine needs
# neither; a port that is taken would be a warning for each host, or the end of the connection.
OPTIONS = ("BatchMode=yes", "RemoteCommand=none", "ClearAllForwardings=yes")
SCHEME = "ssh://"
MAX_PORT = 65535
# `user@` before it, an IPv6 address in brackets, and a port behind it; more than one colon without brackets: an address.
_NAME = re.compile(
    r"(?P<user>.*@)?(?:\[(?P<address>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)


def parse_hosts(texts: Iterable[str], where: str, own: Collection[str] = ()) -> list[NodeShare]:
    """The hosts of one or more comma-separated lists, in order; counts for one host add up.

    Names that are in `own` are this machine: LOCALHOST. `where` names the option or variable in errors. Raises UsageError
    that quotes the item.
    """
    cores: dict[str, int] = {}
    for text in texts:
        for item in text.split(","):
            host, count = _parse_item(item.strip(), where)
            if host in own:
                host = LOCALHOST
            cores[host] = cores.get(host, 0) + count
    return [NodeShare(host, count) for host, count in cores.items()]


def destination(name: str) -> tuple[str, str]:
    """Return what ssh calls this host, and its port or nothing: `user@[::1]:22` is `user@::1` and `22`."""
    match = _NAME.fullmatch(name)
    if match is None or not _is_port(match["port"]):
        return name, ""
    return (match["user"] or "") + (match["address"] or match["host"]), match["port"] or ""


def _is_port(digits: str | None) -> bool:
    return digits is None or 1 <= int(digits) <= MAX_PORT


def _parse_item(item: str, where: str) -> tuple[str, int]:
    host, colon, digits = item.removeprefix(SCHEME).rpartition(":")
    if not colon:
        raise UsageError(f"{where}: {item!r} has no count of cores; write HOST:COUNT, as in localhost:4")
    if not is_node_name(host):
        raise UsageError(
            f"{where}: {item!r} has no host name that can be used; write HOST:COUNT, as in localhost:4"
        )
    match = _NAME.fullmatch(host)
    if item.startswith(SCHEME) and match and not _is_port(match["port"]):
        raise UsageError(f"{where}: {item!r} needs a port from 1 to {MAX_PORT} before the count of cores")
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits[:9]) <= MAX_CORES or len(digits) > 9:
        raise UsageError(f"{where}: {item!r} needs a count of cores from 1 to {MAX_CORES} after the colon")
    return host, int(digits)


def launch_argv(host: str, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `engine` in a folder of a host, by plain OpenSSH with the user's own configuration.

    BatchMode: nobody is there to type a password, and a question would hang instead of failing. After `--` nothing is taken
    for an option, whatever the host is called. REACHED tells that the login shell has come as far as the command.
    """
    name, port = destination(host)
    options = [word for option in OPTIONS for word in ("-o", option)]
    command = f"echo {shlex.quote(REACHED)}; cd {shlex.quote(folder)} && exec {shlex.join(engine)}"
    return ("ssh", *options, *(("-p", port) if port else ()), "-T", "--", name, command)


class Ssh(Scheduler):
    """Hosts that the user names; this machine, as localhost, among them."""

    name = "ssh"
    logs_in = True

    def here(self, environ: Mapping[str, str], wishes: Wishes) -> bool:
        return bool(wishes.hosts or environ.get(NODELIST_VARIABLE))

    def label(self, environ: Mapping[str, str]) -> str:
        return "SSH0"

    def allocate(
        self, environ: Mapping[str, str], wishes: Wishes, answers: Mapping[str, str | None]
    ) -> Allocation:
        shares = parse_hosts(*_lists(environ, wishes), wishes.own)
        return allocate(
            shares, wishes.cores_per_task, wishes.tasks_per_node, bind=wishes.bind, gpus=wishes.gpus
        )

    def host_names(self, environ: Mapping[str, str], wishes: Wishes) -> tuple[str, ...]:
        names = [share.name for share in parse_hosts(*_lists(environ, wishes))]
        return tuple(
            name for name in names if name != LOCALHOST and "@" not in name and not destination(name)[1]
        )

    def is_local(self, node: str) -> bool:
        return node == LOCALHOST

    def launch_argv(self, node: NodeSpec, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
        return launch_argv(node.name, folder, engine)


def _lists(environ: Mapping[str, str], wishes: Wishes) -> tuple[Sequence[str], str]:
    """Return the lists of hosts, and what they come from."""
    if wishes.hosts:
        return wishes.hosts, "-s"
    return [environ[NODELIST_VARIABLE]], NODELIST_VARIABLE
