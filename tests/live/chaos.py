"""Rounds of chance: a run whose processes are killed and stopped, and whose terminal closes, until resumes complete it.

`Round` starts disBatch on a terminal, a pipe or a file, hits driver, engines, guards and contexts at moments that a seed
gives, and begins again with `-r`, or with the same command where the run has `--reattach`. `Account` checks what no such
hit may break: no acknowledged row is lost, no task runs twice at the same time, no line is torn, nothing is left over.
`python tests/live/chaos.py 100` plays a hundred rounds and prints a table.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chaos_account import ALL, LIST, Account
from chaos_programs import Output, Program
from disbatch_runs import PYTHON, Bench, command_line, kill_all, processes_of

SLOTS = 3
RUNS = 3  # so many runs of a round are hit, the ones after them are left alone
END_S = 25.0  # a run that nobody hits any more has ended by then
GONE_S = 10.0  # and nothing of it is left after so long


class Round:
    """One round in a folder of its own. `log` says what was done to whom, with seconds since the start of its run."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.log: list[str] = []
        self.account = Account(bench)
        self._mark = str(bench.path.parent)
        self._chance = chance = random.Random(seed)
        self._loses_terminal = seed % 3 == 0
        self.kind = "terminal" if self._loses_terminal else chance.choice(["terminal", "pipe", "file"])
        self.pool = chance.random() < 0.5
        self.reattach = self.pool and chance.random() < 0.5
        # Whoever resumes, or reattaches, waits a lease for contexts of which he hears nothing.
        self._lease = chance.choice(["2", "4"] if self.pool else ["2", "4", "300"])
        self.runs = "reattach" if self.reattach else "pool" if self.pool else "local"
        self._programs: list[Program] = []
        self._contexts: list[Program] = []
        self._done: list[str] = []  # prefixes with a status file
        self._paused: dict[int, float] = {}  # process id -> when it goes on

    # -- the runs of a round

    def play(self) -> None:
        self.bench.file("Tasks", LIST)
        codes: dict[int, int] = {}
        for number in range(RUNS + 3):
            hit = number < RUNS
            prefix = "r" if self.reattach else f"r{number}"
            codes = self._run(prefix, hit=hit)
            if not self.reattach and (self.bench.path / f"{prefix}_status.txt").exists():
                self._done.append(prefix)
            if all(codes.get(task) == 0 for task in ALL):
                break
            if self.reattach and not (self.bench.path / "r_kvsinfo.txt").exists():
                self.reattach = False  # that run is over, as it ended in order: a resume completes it
                self._done += ["r"] if (self.bench.path / "r_status.txt").exists() else []
        self._expect_nothing_left()
        self.account.settle(codes)

    def outputs(self) -> list[str]:
        """What the programs have printed, for whoever has to find out what happened."""
        return [f"--- {p.output.path.name}\n{p.output.text()[-2000:]}" for p in self._programs]

    def close(self) -> None:
        kill_all(processes_of(self._mark))
        for program in self._programs:
            program.process.kill()
            program.process.wait()
            program.discard()

    def _run(self, prefix: str, *, hit: bool) -> dict[int, int]:
        words = ["-p", prefix, "--lease", self._lease, "--lost-limit", "9"]
        words += [word for name in self._done for word in ("-r", f"{name}_status.txt")]
        words += ["-S"] if self.pool else ["-s", f"localhost:{SLOTS}"]
        words += ["--reattach"] if self.reattach else []
        driver = self._start([*PYTHON, *words, "Tasks"], self.kind)
        killed = False
        began = time.monotonic()
        plan = self._plan() if hit else []
        # a part of the hits come while it begins, the others once tasks run
        begun = 0 if self._chance.random() < 0.25 else self._journal_bytes() + 1
        clock_s = began if not begun else 0.0
        while driver.process.poll() is None:
            now = time.monotonic()
            self._resume_paused()
            if self.pool:
                self._keep_a_context(prefix)
            if not clock_s and self._journal_bytes() >= begun:
                clock_s = now
            if plan and clock_s and now - clock_s >= plan[0][0]:
                _, act = plan.pop(0)
                killed |= act(driver, now - clock_s)
            if now - began > END_S:
                self.account.faults.append(f"{prefix}: the driver has not ended within {END_S:.0f} s")
                driver.process.kill()
                driver.process.wait()
                killed = True
            time.sleep(0.005)
        self._resume_paused(at_once=True)
        code = driver.process.wait()
        self.log.append(f"{prefix} ended: {code}")
        driver.discard()
        self._check_end(driver, code, prefix, hit=hit)
        if not self.reattach and self._chance.random() < 0.5:
            self._expect_nothing_left()
        return self.account.look(prefix, torn=killed)

    def _journal_bytes(self) -> int:
        path = self.bench.path / "journal"
        return path.stat().st_size if path.exists() else 0

    def _check_end(self, driver: Program, code: int, prefix: str, *, hit: bool) -> None:
        if "Traceback" in driver.output.text():
            self.account.faults.append(f"{prefix}: a traceback on the terminal")
        if not hit and code:
            text = driver.output.text()[-600:]
            self.account.faults.append(f"{prefix}: exit code {code} though nobody was hit: {text}")
        if code not in (0, 2, 3, 129, -signal.SIGKILL, -signal.SIGHUP):
            self.account.faults.append(f"{prefix}: exit code {code}")

    def _start(self, words: list[str], kind: str) -> Program:
        output = Output(kind, self.bench.io(f"out{len(self._programs)}"))
        program = Program(output.start(words, self.bench.path, self.bench.env), output)
        self._programs.append(program)
        return program

    def _keep_a_context(self, prefix: str) -> None:
        """Adds machines where nobody has any, once the run can be joined."""
        self._contexts = [context for context in self._contexts if context.process.poll() is None]
        script = self.bench.path / f"{prefix}_dbUtil.sh"
        if not self._contexts and script.exists() and (self.bench.path / f"{prefix}_kvsinfo.txt").exists():
            self._contexts.append(self._start([str(script), "-s", f"localhost:{SLOTS}"], self.kind))

    def _expect_nothing_left(self) -> None:
        deadline = time.monotonic() + GONE_S
        while left := processes_of(self._mark):
            for program in self._programs:
                program.process.poll()
            if time.monotonic() > deadline:
                self.account.faults.append("left over: " + "; ".join(command_line(pid)[:200] for pid in left))
                kill_all(left)
                return
            self._resume_paused(at_once=True)
            time.sleep(0.02)

    # -- what happens to them

    def _plan(self) -> list[tuple[float, Callable[[Program, float], bool]]]:
        moments = sorted(self._chance.uniform(0.0, 1.2) for _ in range(self._chance.randint(1, 3)))
        acts = [self._chance.choice([self._kill, self._stop]) for _ in moments]
        plan: list[tuple[float, Callable[[Program, float], bool]]] = list(zip(moments, acts, strict=True))
        if self._loses_terminal:
            plan.append((self._chance.uniform(0.2, 1.0), self._close_terminal))
        elif self.kind == "pipe" and self._chance.random() < 0.5:
            plan.append((self._chance.uniform(0.1, 1.0), self._close_terminal))
        return sorted(plan, key=lambda entry: entry[0])

    def _pick(self, driver: Program) -> tuple[str, int]:
        roles = driver.roles("driver")
        for context in self._contexts:
            roles |= context.roles("context")
        role = self._chance.choice([name for name, pids in sorted(roles.items()) if pids] or [""])
        return (role, self._chance.choice(roles[role])) if role else ("", 0)

    def _kill(self, driver: Program, now: float) -> bool:
        role, pid = self._pick(driver)
        if not role:
            return False
        self.log.append(f"{now:.2f} KILL {role}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return role == "driver"

    def _stop(self, driver: Program, now: float) -> bool:
        """Stops one for a moment, or for longer than a short lease."""
        role, pid = self._pick(driver)
        if not role:
            return False
        seconds = self._chance.choice([0.2, 1.0, 3.0])
        self.log.append(f"{now:.2f} STOP {role} for {seconds} s")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._paused[pid] = time.monotonic() + seconds
        return False

    def _close_terminal(self, driver: Program, now: float) -> bool:
        programs = [driver, *self._contexts]
        chosen = self._chance.choice(programs)
        self.log.append(f"{now:.2f} close {self.kind} of {'driver' if chosen is driver else 'context'}")
        chosen.output.close()
        return False

    def _resume_paused(self, *, at_once: bool = False) -> None:
        for pid, until in [*self._paused.items()]:
            if at_once or time.monotonic() > until:
                del self._paused[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def play(folder: Path, seed: int) -> Round:
    """Plays the round of this seed to its end, with nothing left of it."""
    game = Round(Bench(folder), seed)
    try:
        game.play()
    finally:
        game.close()
    return game


def table_row(seed: int, game: Round, seconds: float) -> str:
    return f"{seed:4d} {seconds:6.1f} s  {game.kind:8s} {game.runs:8s} {'; '.join(game.log)}"


def hits_of(log: list[str]) -> Counter[str]:
    """What was done, without when and for how long; and how the runs ended."""
    plain = [entry.partition(" ")[2].partition(" for ")[0] for entry in log]
    return Counter(plain)


def main() -> int:
    parser = argparse.ArgumentParser(description="Plays rounds of random kills and stops.")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds with faults")
    options = parser.parse_args()
    faults: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.rounds):
        folder = Path(tempfile.mkdtemp(prefix="disbatch-chaos-"))
        began = time.monotonic()
        game = play(folder, seed)
        print(table_row(seed, game, time.monotonic() - began), flush=True)
        hits += hits_of(game.log)
        for fault in game.account.faults:
            print(f"       FAULT {fault}", flush=True)
        faults["rounds with a fault"] += bool(game.account.faults)
        faults["faults"] += len(game.account.faults)
        if not (game.account.faults and options.keep):
            subprocess.run(["rm", "-rf", "--", folder], check=True)
        else:
            print(f"       see {folder}", flush=True)
    for hit, number in hits.most_common():
        print(f"{number:5d}  {hit}")
    print(f"{options.rounds} rounds, " + ", ".join(f"{n} {what}" for what, n in faults.items()))
    return 1 if faults["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
