"""`python -m kvsstcp client`: operations from the command line, done in the order in which they stand there."""

import argparse
import base64
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from kvsstcp.cli_output import say_error
from kvsstcp.client import Client
from kvsstcp.errors import ConnectionFailed, KvsError, UsageError
from kvsstcp.values import JSON, Value, as_coding


class Step(NamedTuple):
    """One operation and its words."""

    name: str
    words: list[str]


class _AddStep(argparse.Action):
    """Collects operations of all kinds in one list, so that their order is kept."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        words = [values] if isinstance(values, str) else list(values)
        namespace.steps = [*namespace.steps, Step(self.dest, words)]


def main(argv: Sequence[str]) -> int:
    """Returns the exit code, see `__main__`."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not options.steps:
        parser.error("nothing to do: give at least one of -p, -g, -v, -d, -m, -S")
    where = ""
    try:
        coding = as_coding(JSON if options.json and options.encoding is None else options.encoding or "ASTR")
        with Client(options.where, plain=options.plain, timeout_s=options.timeout) as client:
            for step in options.steps:
                where = f"{step.name} {step.words[0]}: " if step.words else f"{step.name}: "
                _perform(client, step, coding, options.json)
    except KvsError as error:
        say_error(f"kvsstcp client: {where}{error}")
        return 2 if isinstance(error, UsageError) else 3 if isinstance(error, ConnectionFailed) else 1
    except OSError as error:
        # of standard output: what was got from the server is not where it should be
        say_error(f"kvsstcp client: {where}cannot print: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kvsstcp client",
        description="Talks to a key-value store server. Operations are done in the order given.",
    )
    _add_operations(parser)
    add = parser.add_argument
    add(
        "-T",
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="longest wait of each operation (default: none)",
    )
    add("-E", "--encoding", metavar="CODING", help="four characters that say what a put value is (ASTR)")
    add("--json", action="store_true", help="put values are JSON; each thing printed is one line of it")
    add("--plain", action="store_true", help="do not encrypt, prove nothing (servers started that way)")
    where = "default: the info file KVSSTCP_INFO, else KVSSTCP_HOST and KVSSTCP_PORT"
    add("where", nargs="?", metavar="HOST:PORT|INFOFILE", help=where)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # not a number is not, either
        raise argparse.ArgumentTypeError(f"a number of seconds is needed, not {text!r}")
    return seconds


def _add_operations(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(steps=[])

    def add(short: str, long: str, words: str, about: str) -> None:
        names = tuple(words.split())
        shown = names[0] if len(names) == 1 else names
        parser.add_argument(short, long, nargs=len(names), metavar=shown or None, action=_AddStep, help=about)

    add("-p", "--put", "KEY VALUE", "append a value to a key")
    add("-g", "--get", "KEY", "print the oldest value and remove it; waits for one")
    add("-v", "--view", "KEY", "print the newest value; waits for one")
    add("-d", "--dump", "", "print what the server holds, as JSON")
    add("-m", "--monkey", "MKEY KEY:EVENTS", "have events (letters of gpvw) on KEY put under MKEY")
    add("-S", "--shutdown", "", "end the server")


def _perform(client: Client, step: Step, coding: bytes, as_json: bool) -> None:
    words = step.words
    if step.name == "put":
        data = os.fsencode(words[1])
        if coding == JSON:
            Value(JSON, data).json()
        client.put(os.fsencode(words[0]), Value(coding, data))
    elif step.name == "get":
        _print(client.get(os.fsencode(words[0])), as_json)
    elif step.name == "view":
        _print(client.view(os.fsencode(words[0])), as_json)
    elif step.name == "dump":
        _write(json.dumps(client.dump(), indent=None if as_json else 1).encode())
    elif step.name == "monkey":
        watched, colon, events = words[1].rpartition(":")
        if not colon:
            raise UsageError(f"a monitor is KEY:EVENTS, not {words[1]!r}")
        client.monitor(os.fsencode(words[0]), os.fsencode(watched), events)
    else:
        client.down()


def _print(value: Value, as_json: bool) -> None:
    _write(json.dumps(_document(value)).encode() if as_json else value.data)


def _document(value: Value) -> Any:
    """JSON values as themselves, text as a string, anything else with its coding and in base64."""
    if value.coding == JSON:
        return value.json()
    try:
        if value.coding == b"ASTR":
            return value.data.decode()
    except UnicodeDecodeError:
        pass
    return {"coding": value.coding.decode("latin-1"), "base64": base64.b64encode(value.data).decode()}


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
