"""`disbatch-ctl RUN …`, which is also `PREFIX_dbUtil.sh …`: machines for a run that goes on, looks at it, orders to it."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from disbatch.core.printable import printable, printable_message, shell_word
from disbatch.options import HelpFormatter, Parser, add_context_arguments
from disbatch.output import leave_with

if TYPE_CHECKING:
    from disbatch.core.joining import Answer, StopKind
    from disbatch.monitor.stopping import Stop

NAME_VARIABLE = "DISBATCH_CTL_NAME"  # what the script that calls us is called, for help and errors
EXAMPLES = (
    ("sbatch -N 2 --ntasks-per-node 4 {script}", "add a Slurm job to the run"),
    ("{call} -s localhost:4,otherhost:8", "add cores of this machine and of another one"),
    ("{call} --mon", "watch it"),
    ("{call} --stop-context NIGHT", "let the tasks of a context finish, then end it"),
)


def build_parser(name: str | None) -> argparse.ArgumentParser:
    """The parser of `disbatch-ctl`; with a `name`, of the script of one run, which needs no RUN."""
    call = shell_word(f"./{name}") if name else "disbatch-ctl RUN"
    parser = Parser(
        prog=printable(name or "disbatch-ctl"),
        description="Add machines to a disBatch run that goes on, or show and steer it. "
        "Without -s the machines are those of the Slurm job, or of DISBATCH_SSH_NODELIST.",
        epilog=_examples(call, shell_word(name or "RUN_dbUtil.sh")),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    shown = argparse.SUPPRESS if name else "the run: its prefix, or one of its files"
    parser.add_argument("run", metavar="RUN", help=shown)
    what = parser.add_argument_group("instead of adding machines").add_argument
    what("--mon", action="store_true", help="watch the run")
    what("--once", action="store_true", help="with --mon: print the picture of this moment and end")
    what("--status", action="store_true", help="the same as --mon --once")
    what("--json", action="store_true", help="with --mon or --status: print the picture as JSON")
    what("--stop-engine", metavar="RANK", help="let an engine finish what runs, then end it")
    what("--stop-context", metavar="LABEL", help="let the engines of a context finish what runs, then end it")
    add_context_arguments(parser)
    return parser


def _examples(call: str, script: str) -> str:
    lines = ["examples:"]
    for command, what in EXAMPLES:
        lines += ["  " + command.format(call=call, script=script), "      " + what]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. `argv` without the program's name."""
    from disbatch.core.errors import DisBatchError
    from disbatch.runtime.control import RunOverError

    name = os.environ.pop(NAME_VARIABLE, None)
    parser = build_parser(name)
    options = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    try:
        return _act(options)
    except RunOverError as over:
        print(f"{parser.prog}: {printable_message(str(over))}")
        return over.exit_code
    except DisBatchError as error:
        print(f"{parser.prog}: error: {printable_message(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def program() -> NoReturn:
    leave_with(main)


def _act(options: argparse.Namespace) -> int:
    from disbatch.core.errors import UsageError
    from disbatch.runtime.control import find_run, run_prefix

    prefix = run_prefix(options.run)
    looks = options.mon or options.status
    acts = [option for option in (looks, options.stop_engine, options.stop_context) if option]
    if len(acts) > 1:
        raise UsageError("--mon, --status, --stop-engine and --stop-context exclude each other")
    if (options.once or options.json) and not looks:
        raise UsageError("--once and --json say how to show a run: they need --mon or --status")
    if acts and options.ssh_node:
        raise UsageError("-s adds machines: it cannot go with --mon, --status or an order to stop")
    find_run(prefix)
    if looks:
        return _look(prefix, options)
    if options.stop_engine is not None:
        return _order(prefix, "engine", options.stop_engine)
    if options.stop_context is not None:
        return _order(prefix, "context", options.stop_context)
    return _join(prefix, options)


def _join(prefix: str, options: argparse.Namespace) -> int:
    from disbatch.monitor.console import PlainView
    from disbatch.output import OutputStream
    from disbatch.runtime.context import run_context
    from disbatch.runtime.contextsettings import context_settings, left_to_another

    words = left_to_another(options, os.environ)
    if words:
        print(f"disBatch: {words}", file=sys.stderr)
        return 0
    settings = context_settings(options, os.environ)
    view = PlainView(OutputStream(2))
    view.begin()
    try:
        for warning in settings.allocation.warnings:
            view.say(warning, "warning")
        return run_context(prefix, settings, view.say)
    finally:
        view.close()


def _order(prefix: str, kind: "StopKind", name: str) -> int:
    from disbatch.core.errors import UsageError

    answer = asyncio.run(_ask(prefix, kind, name))
    if not answer.done:
        raise UsageError(answer.text)
    print(printable_message(answer.text))
    return 0


async def _ask(prefix: str, kind: "StopKind", name: str) -> "Answer":
    from disbatch.runtime.control import connect, read_facts, send_order

    client = await connect(prefix)
    try:
        facts = await read_facts(client, prefix)
        return await send_order(client, facts, kind, name)
    finally:
        client.abort()


class _Orders:
    """How the monitor has parts of the run stopped."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def stop(self, stop: "Stop") -> str:
        """Raises MachineError when the answer is no."""
        from disbatch.core.errors import MachineError

        answer = await _ask(self._prefix, stop.kind, stop.name)
        if not answer.done:
            raise MachineError(answer.text)
        return answer.text


def _look(prefix: str, options: argparse.Namespace) -> int:
    from disbatch.core.errors import MachineError
    from disbatch.monitor.command import show
    from disbatch.runtime.control import refuse_dead

    once = options.once or options.status
    name = os.path.basename(prefix)
    try:
        show(prefix + "_kvsinfo.txt", name, _Orders(prefix), once=once, as_json=options.json)
    except MachineError:
        refuse_dead(prefix)
        raise
    return 0


if __name__ == "__main__":
    program()
