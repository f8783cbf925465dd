"""The command `python -m disbatch.monitor RUN`, which `PREFIX_dbUtil.sh --mon` is as well: options in, exit code out."""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from disbatch.core.errors import DisBatchError, MachineError
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.looking import INFO_ENDING, Looker, find_info, load_info, watch
from disbatch.monitor.once import page

ANSWER_S = 30.0  # a driver that is well answers within a second, one with thousands of engines within a few
PIPE_WIDTH = 120  # of lines that go into a file or a pipe


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="disbatch.monitor",
        description="Watch a run of disBatch while it lasts. In the monitor, ? shows the keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", metavar="RUN", help=f"prefix of the run's files, or its info file (PREFIX{INFO_ENDING})"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--once", action="store_true", help="print the state of the run and end (so it is without a terminal)"
    )
    how.add_argument("--json", action="store_true", help="print one snapshot of the run as JSON and end")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the monitor; returns its exit code. `argv` without the program's name."""
    options = build_parser().parse_args(argv)
    try:
        path = find_info(options.run)
        load_info(path)  # what is wrong with it is said before the terminal changes its looks
        title = os.path.basename(path.removesuffix(INFO_ENDING))
        if options.json:
            print(asyncio.run(_look(path)).to_json())
        elif options.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
            print(page(asyncio.run(_look(path)), title, width))
        else:
            _watch(path, title)
    except DisBatchError as error:
        print(f"disbatch.monitor: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _look(path: str) -> RunSnapshot:
    looker = await Looker.connect(load_info(path))
    try:
        return await asyncio.wait_for(looker.look(), ANSWER_S)
    except TimeoutError:
        raise MachineError(f"the run does not answer within {ANSWER_S:.0f} s") from None
    finally:
        await looker.close()


def _watch(path: str, title: str) -> None:
    if find_spec("textual") is None:
        raise MachineError(
            "the monitor needs the package textual: pip install 'disbatch[monitor]' (or use --once)"
        )
    from disbatch.monitor.terminal import Monitor

    trouble = Monitor(title, lambda: watch(path)).run()
    if trouble:
        raise MachineError(trouble)
