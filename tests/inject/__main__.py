"""The full mode: `python -m tests.inject --out RESULTS.jsonl`. Started again it goes on where it was; see --help."""

import argparse
import collections
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.inject.bed import Bed, Outcome, run_case
from tests.inject.calls import Case, all_cases, sample, unknown
from tests.inject.gate import SSH_TARGETS, TARGETS
from tests.inject.table import table


def main() -> int:
    options = _parser().parse_args()
    if options.table:
        print(table(_results(options.out)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="run-") as name:
        if options.ssh:
            from tests.inject.overssh import ssh_beds

            with ssh_beds() as make_bed:
                return _run(options, Path(name), SSH_TARGETS, make_bed)
        return _run(options, Path(name), TARGETS, Bed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.inject", description="Fails every system call once."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="results, one JSON object per line"
    )
    parser.add_argument(
        "--ssh", action="store_true", help="with the engine on another host, over ssh (needs root)"
    )
    parser.add_argument("-j", type=int, default=4, metavar="N", help="runs side by side (default: 4)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TARGET[:CALL[:ERROR[:K]]]", help="only these"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only the sample of this size")
    parser.add_argument(
        "--counts", type=Path, metavar="FILE", help="keep the counts here, and read them from here"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no run after so long")
    parser.add_argument("--failed", action="store_true", help="run those again that failed")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the folders of runs that fail here")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where runs have their files"
    )
    parser.add_argument("--table", action="store_true", help="print the table of the results, run nothing")
    parser.add_argument("--list", action="store_true", help="print what would be run")
    return parser


def _run(
    options: argparse.Namespace, folder: Path, targets: tuple[str, ...], make_bed: Callable[[Path], Bed]
) -> int:
    counts = _counts(options.counts, folder, targets, make_bed)
    if unknown(counts):
        print("calls that the table does not know:", *sorted(unknown(counts)), file=sys.stderr)
        return 2
    cases = sample(counts, options.sample) if options.sample else all_cases(counts)
    known = {
        case: outcome
        for case, outcome in _results(options.out).items()
        if not (options.failed and outcome.ended == "failed")
    }
    if options.failed:
        cases = [case for case in _results(options.out) if case not in known]
    cases = [case for case in cases if case not in known and _wanted(case, options.only)]
    if options.list:
        for case in cases:
            print(case)
        print(f"{len(cases)} runs")
        return 0
    return _run_all(cases, options, lambda number: make_bed(folder / str(number)))


def _wanted(case: Case, only: list[str]) -> bool:
    words = [case.target, case.call, case.error, str(case.k)]
    return not only or any(words[: one.count(":") + 1] == one.split(":") for one in only)


def _counts(
    kept: Path | None, folder: Path, targets: tuple[str, ...], make_bed: Callable[[Path], Bed]
) -> dict[str, dict[str, int]]:
    if kept is not None and kept.exists():
        found: dict[str, dict[str, int]] = json.loads(kept.read_text())
        return found
    counts = {target: make_bed(folder / f"count-{target}").count(target) for target in targets}
    if kept is not None:
        kept.write_text(json.dumps(counts, indent=1))
    return counts


def _results(path: Path) -> dict[Case, Outcome]:
    """The newest of each case."""
    found = {}
    if path.exists():
        for line in path.read_text().splitlines():
            case, outcome = json.loads(line)
            found[Case(*case)] = Outcome(*outcome)
    return found


def _run_all(cases: list[Case], options: argparse.Namespace, make_bed: Callable[[int], Bed]) -> int:
    end = time.monotonic() + options.seconds if options.seconds else None
    ended: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def one(number: int, case: Case) -> None:
        if end is not None and time.monotonic() > end:
            return
        outcome = run_case(make_bed(number), case, options.keep)
        with lock, open(options.out, "a") as out:
            out.write(json.dumps([case, outcome]) + "\n")
            ended[outcome.ended] += 1
            if outcome.ended == "failed":
                print(f"{case}: {outcome.why}", flush=True)
            elif sum(ended.values()) % 100 == 0:
                print(f"{sum(ended.values())} of {len(cases)}: {dict(ended)}", flush=True)

    with ThreadPoolExecutor(options.j) as pool:
        try:
            for future in as_completed([pool.submit(one, number, case) for number, case in enumerate(cases)]):
                future.result()
        except BaseException:
            # interrupted, or told to end: what has run is in the file
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(f"{sum(ended.values())} of {len(cases)}: {dict(ended)}")
    return 1 if ended["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
