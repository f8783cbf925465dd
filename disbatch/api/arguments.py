"""What a program hands to the constructors: checked before anything is started, and turned into disBatch's options."""

import argparse
import os
import tempfile
from collections.abc import Sequence

from disbatch.contexts.ssh import LOCALHOST, parse_hosts
from disbatch.runtime.settings import service_address
from kvsstcp.infofile import Address

PathText = str | os.PathLike[str]


def run_options(hosts: str | None, prefix: PathText | None, args: Sequence[PathText]) -> list[str]:
    """Return the options of disBatch. Raises TypeError that says what was expected, and UsageError for hosts that are none."""
    where = [] if hosts is None else ["-s", checked_hosts(hosts)]
    to = [] if prefix is None else ["-p", _path(prefix, "prefix")]
    return [*where, *to, *checked_options(args)]


def folder_for(hosts: str | None) -> str:
    """Return where the temporary folder of a run is to be made: where tasks run, if not all of them run here, as then all
    machines see that folder."""
    here = hosts is not None and all(share.name == LOCALHOST for share in parse_hosts([hosts], "hosts"))
    folder = os.getcwd()
    return tempfile.gettempdir() if here or not os.access(folder, os.W_OK) else folder


def checked_hosts(hosts: object) -> str:
    """Return the hosts as they are. Raises TypeError and UsageError."""
    if not isinstance(hosts, str):
        raise TypeError(
            f'hosts is a string such as "localhost:4" or "hosta:8,hostb:8", not {_kind(hosts)}: {hosts!r:.100}'
        )
    parse_hosts([hosts], "hosts")
    return hosts


def checked_options(args: object) -> list[str]:
    """Return the options as a list of strings. Raises TypeError."""
    expected = 'args is a list of strings, one for each word, such as ["-c", "2"]'
    if isinstance(args, str | bytes) or not isinstance(args, Sequence):
        raise TypeError(f"{expected}, not {_kind(args)}: {args!r:.100}")
    for word in args:
        if not isinstance(word, str | os.PathLike):
            raise TypeError(f"{expected}; one of them is {_kind(word)}: {word!r:.100}")
    return [os.fspath(word) for word in args]


def checked_name(name: object) -> str:
    """Return the name of a feeding program. Raises TypeError."""
    if not isinstance(name, str):
        raise TypeError(f"tasksname is a string, not {_kind(name)}: {name!r:.100}")
    return name


def listen_address(options: Sequence[str]) -> Address | None:
    """Return the address that `--use-address` among these options of disBatch gives, None without one. Raises UsageError."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--use-address")
    try:
        found, _ = parser.parse_known_args(options)
    except argparse.ArgumentError:
        return None  # without a value: disBatch itself refuses it, and says why
    return None if found.use_address is None else service_address(found.use_address)


def _path(path: object, name: str) -> str:
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{name} is a string or a Path, not {_kind(path)}: {path!r:.100}")
    return str(os.fspath(path))


def _kind(value: object) -> str:
    return type(value).__name__
