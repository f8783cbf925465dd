"""The options of the programs: parsers and nothing else. What options mean together is checked in `runtime.settings`."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from disbatch import __version__
from disbatch.core.printable import printable

if TYPE_CHECKING:
    from fractions import Fraction

WIDEST = 100  # columns of --help: longer lines are hard to read, however wide the terminal is
EPILOG = """examples:
  disBatch -s localhost:4 Tasks
      run the commands in Tasks here, four at a time
  disBatch -s localhost:4 -r Tasks_1_status.txt Tasks
      go on where an earlier run ended
  sbatch -n 20 --ntasks-per-node 5 disBatch Tasks
      in a Slurm job, five at a time on each node
"""


def _columns() -> int:
    """Of the terminal, or as COLUMNS says. Asked for each option: shutil, which argparse would import, costs 4 ms."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:  # standard output is no terminal
        return 80


class HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal, within reason; examples keep their lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(_columns(), WIDEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


def _is_a_list_of_status_files(given: Sequence[str]) -> bool:
    """Whether two words that are no options stand behind a -r."""
    for at, word in enumerate(given[:-2]):
        if word in ("-r", "--resume-from") and not any(w.startswith("-") for w in given[at + 1 : at + 3]):
            return True
    return False


class Parser(argparse.ArgumentParser):
    given: Sequence[str] = ()  # what is parsed, for a hint in errors

    def error(self, message: str) -> NoReturn:
        """One line, not the whole usage: the line is what the user has to read."""
        _, _, unknown = message.partition("unrecognized arguments: ")
        words = unknown.split()
        meant = self._nearest(words)
        hint = f"did you mean {meant}? {self.prog}" if meant else self.prog
        if words and not meant and _is_a_list_of_status_files(self.given):
            hint = f"each status file wants its own -r, as in -r OLD -r NEW; {self.prog}"
        self.exit(2, f"{self.prog}: error: {printable(message)} ({hint} --help lists the options)\n")

    def _nearest(self, unknown: list[str]) -> str:
        """The option that the first unknown one was meant to be, or nothing."""
        first = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
        if not first:
            return ""
        import difflib  # only for those who have mistyped

        names = {name.lower(): name for name in self._option_string_actions if name.startswith("--")}
        begun = [name for name in names if name.startswith(first.lower())]
        found = begun if len(begun) == 1 else difflib.get_close_matches(first.lower(), names, 1, 0.75)
        return names[found[0]] if found else ""


def _positive_fraction(text: str) -> "Fraction":
    from fractions import Fraction  # 3 ms, for those who give -c

    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < value <= 1_000_000 or value < Fraction(1, 1000):
        raise argparse.ArgumentTypeError(f"{text!r}: a number of cores from 0.001 is needed")
    return value


def count_from(at_least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < at_least:
            raise argparse.ArgumentTypeError(f"{text!r} is less than {at_least}")
        return value

    return convert


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds from 0 are needed")
    return value


def _lease(text: str) -> float:
    value = _seconds(text)
    if not 2 <= value <= 1e7:  # below, a moment of load on a node would end a lease
        raise argparse.ArgumentTypeError(f"{text!r} is not between 2 and 10000000 seconds")
    return value


def build_parser() -> Parser:
    """The parser of `disBatch`; options as the manual's usage has them, and what we add, in groups by what they are about."""
    parser = Parser(
        prog="disBatch",
        description="Run a long list of shell commands, one a line, on whatever machines there are.",
        epilog=EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("taskfile", nargs="?", help='file with tasks, one a line ("-" for standard input)')
    _add_general(parser)
    _add_resuming(parser.add_argument_group("going on where a run ended"))
    _add_watching(parser.add_argument_group("watching a run, and being told of it"))
    _add_records(parser.add_argument_group("records and logs"))
    _add_losses(parser.add_argument_group("engines that are lost, tasks that are stopped"))
    _add_feeding(parser.add_argument_group("tasks from programs, and the key-value server"))
    add_context_arguments(parser)
    return parser


def _add_general(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-e",
        "--exit-code",
        action="store_true",
        help="exit with 1 when a task failed (default: only -f and CHECK do)",
    )
    add(
        "-f",
        "--fail-fast",
        action="store_true",
        help="at the first failed task stop what runs and start nothing more",
    )
    add(
        "-p",
        "--prefix",
        metavar="PATH",
        help='where log, script and status files go (default: "."); a path that is no folder is how their names begin'
        " (default: TASKFILE_JOBID)",
    )
    add("--dry-run", action="store_true", help="check everything, show what would be run, run nothing")
    add(
        "-S",
        "--startup-only",
        action="store_true",
        help="start without execution resources and wait for some to join",
    )
    add(
        "--reattach",
        action="store_true",
        help="with -S and -p: engines outlive a driver that dies, and the same command goes on with them",
    )
    add("--quiet", action="store_true", help="print errors and warnings only")
    add("--version", action="version", version=f"disBatch {__version__}")


def _add_resuming(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-r",
        "--resume-from",
        action="append",
        metavar="STATUSFILE",
        help="skip the tasks that this status file of an earlier run has as finished (may be repeated)",
    )
    add(
        "-R", "--retry", action="store_true", help="with -r: run tasks that failed (non-zero exit code) again"
    )
    add(
        "--force-resume",
        action="store_true",
        help="with -r: go by task ids alone, even where commands differ",
    )


def _add_watching(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-w", "--web", action="store_true", help="show the run on a web page; its address is printed")
    add(
        "--web-address",
        metavar="[HOST:]PORT",
        help="with -w: where the page is served (default: on loopback, a free port)",
    )
    add(
        "--web-control",
        action="store_true",
        help="with -w: the page may stop engines, contexts and the run (default: it only shows)",
    )
    add("--mailTo", dest="mailto", metavar="ADDR", help="send mail about finished tasks to this address")
    add(
        "--mailFreq",
        dest="mailfreq",
        type=count_from(0),
        metavar="N",
        help="with --mailTo: a mail every N finished tasks, 0 for one at the end alone (default: 1)",
    )
    add(
        "--on-event",
        metavar="COMMAND",
        help="run this command, with JSON on its standard input, at the end of the run, the first failure, each barrier and"
        " each lost engine",
    )


def _add_records(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--status-header", action="store_true", help="begin the status file with a line of column names")
    add(
        "--fsync",
        choices=("none", "interval", "always"),
        default="interval",
        help="when finished tasks are forced to the disk: never, each second and at the end (the default), or before"
        " more is started",
    )
    add("--no-usage", action="store_true", help="write no file with the CPU time and memory of each task")
    add("--logfile", metavar="FILE", help="log of the driver (default: PREFIX_driver.txt)")
    levels = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
    add(
        "--loglevel",
        choices=levels,
        default="INFO",
        metavar="LEVEL",
        help=f"how much goes into the logs: {', '.join(levels)} (default: INFO)",
    )


def _add_losses(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--grace",
        type=_seconds,
        metavar="SECONDS",
        help="time between TERM and KILL for tasks that are stopped (default: 5; Slurm's KillWait is a bound)",
    )
    add(
        "--lease",
        type=_lease,
        metavar="SECONDS",
        help="a silent engine's tasks are run by others after so long; it kills them before that (default: 300, at least 2)",
    )
    add(
        "--on-lost",
        choices=("rerun", "fail"),
        default="rerun",
        help="what becomes of tasks whose engine was lost: run again, or recorded with exit code -100 (default: rerun)",
    )
    add(
        "--lost-limit",
        type=count_from(1),
        metavar="N",
        help="a task that has lost N engines is recorded with exit code -100 (default: 3)",
    )
    add(
        "--quarantine",
        type=count_from(1),
        metavar="K",
        help="set an engine aside on which K tasks in a row fail within a second, if they go well elsewhere (default: never)",
    )


def _add_feeding(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--taskcommand", metavar="COMMAND", help="tasks come from this command, by way of the KVS server")
    add("--taskserver", nargs="?", const="", metavar="HOST:PORT", help="tasks come from the KVS server")
    add("--kvsserver", nargs="?", const="", metavar="HOST:PORT", help="use a KVS server that runs already")
    add(
        "--insecure-kvs",
        nargs="?",
        const="",
        metavar="[HOST:]PORT",
        help="open the KVS of this run, without any protection, to old clients too (default: on loopback, a free port)",
    )
    add(
        "--use-address",
        metavar="HOST:PORT",
        help="address at which engines find this run (port 0: a free one)",
    )


def add_context_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which machines are used, and how; for the driver's own context and for those that join."""
    context = parser.add_argument_group("context specific arguments").add_argument
    context(
        "-C",
        "--context-task-limit",
        type=count_from(0),
        metavar="TASK_LIMIT",
        help="end the context after so many tasks",
    )
    context(
        "-c",
        "--cpusPerTask",
        dest="cpus_per_task",
        type=_positive_fraction,
        metavar="N",
        help="cores for each task, may be a fraction (default: 1; in a Slurm job what its -c says)",
    )
    context(
        "--drain-before",
        type=_seconds,
        metavar="SECONDS",
        help="in a Slurm job: start no task in the last SECONDS before the end of the job",
    )
    context("--fill", action="store_true", help="use cores that were allocated beyond those asked for")
    context("-g", "--gpu", action="store_true", help="divide the assigned GPUs among the tasks")
    context("--no-bind", action="store_true", help="let tasks run on any core of their node")
    context(
        "--no-retire", action="store_true", help="give no node back to the batch system; the same as -k ''"
    )
    context(
        "-k",
        "--retire-cmd",
        metavar="COMMAND",
        help="command that gives a node back (default: the batch system's)",
    )
    context("-l", "--label", metavar="LABEL", help="name of this context (64 characters at most)")
    context(
        "-s",
        "--ssh-node",
        action="append",
        metavar="HOST:COUNT",
        help="run on so many cores of this host, also ssh://USER@HOST:PORT:COUNT and [ADDRESS]:COUNT (may be repeated, or a list with commas; or DISBATCH_SSH_NODELIST)",
    )
    context(
        "-t",
        "--tasksPerNode",
        dest="tasks_per_node",
        type=count_from(1),
        metavar="N",
        help="tasks at a time on each node, at most cores/cpusPerTask; without -c each has an equal share of the cores",
    )
