"""The ssh context: hosts with counts of cores, from `-s HOST:COUNT` or DISBATCH_SSH_NODELIST."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from disbatch.contexts.base import Allocation, NodeShare, Scheduler, Wishes, allocate, is_node_name
from disbatch.core.errors import UsageError
from disbatch.core.model import NodeSpec

LOCALHOST = "localhost"
NODELIST_VARIABLE = "DISBATCH_SSH_NODELIST"
MAX_CORES = 100_000  # of one host; a larger count is a slip of the keyboard


def parse_hosts(texts: Iterable[str], where: str) -> list[NodeShare]:
    """The hosts of one or more comma-separated lists, in order; counts for one host add up.

    `where` names the option or variable in errors. Raises UsageError that quotes the item.
    """
    cores: dict[str, int] = {}
    for text in texts:
        for item in text.split(","):
            host, count = _parse_item(item.strip(), where)
            cores[host] = cores.get(host, 0) + count
    return [NodeShare(host, count) for host, count in cores.items()]


def _parse_item(item: str, where: str) -> tuple[str, int]:
    host, colon, digits = item.rpartition(":")
    if not colon:
        raise UsageError(f"{where}: {item!r} has no count of cores; write HOST:COUNT, as in localhost:4")
    if not is_node_name(host):
        raise UsageError(
            f"{where}: {item!r} has no host name that can be used; write HOST:COUNT, as in localhost:4"
        )
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits[:9]) <= MAX_CORES or len(digits) > 9:
        raise UsageError(f"{where}: {item!r} needs a count of cores from 1 to {MAX_CORES} after the colon")
    return host, int(digits)


def launch_argv(host: str, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `engine` in a folder of a host, by plain OpenSSH with the user's own configuration.

    BatchMode: nobody is there to type a password, and a question would hang instead of failing. After `--` nothing is taken
    for an option, whatever the host is called.
    """
    command = f"cd {shlex.quote(folder)} && exec {shlex.join(engine)}"
    return ("ssh", "-o", "BatchMode=yes", "-T", "--", host, command)


class Ssh(Scheduler):
    """Hosts that the user names; this machine, as localhost, among them."""

    name = "ssh"

    def here(self, environ: Mapping[str, str], wishes: Wishes) -> bool:
        return bool(wishes.hosts or environ.get(NODELIST_VARIABLE))

    def label(self, environ: Mapping[str, str]) -> str:
        return "SSH0"

    def allocate(
        self, environ: Mapping[str, str], wishes: Wishes, answers: Mapping[str, str | None]
    ) -> Allocation:
        if wishes.hosts:
            shares = parse_hosts(wishes.hosts, "-s")
        else:
            shares = parse_hosts([environ[NODELIST_VARIABLE]], NODELIST_VARIABLE)
        cores = wishes.cores_per_task or 1
        return allocate(shares, cores, wishes.tasks_per_node, bind=wishes.bind, gpus=wishes.gpus)

    def is_local(self, node: str) -> bool:
        return node == LOCALHOST

    def launch_argv(self, node: NodeSpec, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
        return launch_argv(node.name, folder, engine)
