"""Many engines and one driver: a real disBatch process, real TCP with TLS, and engines whose tasks only take time.

    .venv/bin/python benchmarks/scale.py [--quick] [--engines 10,100,1000] [--tasks N] [--rate N]

An engine here is the real core on a real connection; its tasks are entries in a queue of ends. All sizes get the same
offered load: slots times what a task takes is so many tasks a second. What is measured is the driver.
"""

import argparse
import asyncio
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from measure import bash_cpu_s, cpu_s

from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import DownCame, Ended, Leave, SetTimer, Spawn, Tell, Tick, TimerRang
from disbatch.core.joining import Join, SignedIn, Welcome, decode_joining, encode_joining
from disbatch.core.lease import heartbeat_s
from disbatch.core.membership import CONTEXT_KEY
from disbatch.core.messages import Down, Up
from disbatch.core.model import Outcome
from disbatch.core.phases import EngineConfig
from disbatch.runtime.bus import JSON, down_key, from_value, join_key, to_value, up_key
from disbatch.runtime.control import connect, read_facts
from disbatch.runtime.facts import RunFacts
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Info, read_info
from kvsstcp.values import Value

SLOTS = 128
RATE = 5000.0  # tasks a second, of all engines together: three runs of a million are then over in 12 minutes
STUB_PROCESSES = 2
SIGN_IN_AT_ONCE = 64
CONNECT_S = 60.0  # longer than a loaded machine needs; sign-in is measured over all tries
WANTED_SIGN_IN_S = 10.0
WANTED_GROWTH = 1.3  # of the driver's CPU a task, from the smallest to the largest
WANTED_SHARE = 1 / 40  # of the CPU of one `bash -c true`


class Stub:
    """One engine: the real core, a connection, and tasks that end when their time is over."""

    def __init__(self, client: AsyncClient, facts: RunFacts, rank: int, node: str, task_s: float) -> None:
        self.client = client
        self.task_s = task_s
        self.up = up_key(facts.did)
        self.core = EngineCore(
            EngineConfig(os.urandom(8).hex(), rank, node, SLOTS, 5.0, lease_s=facts.lease_s)
        )
        self.facts = facts
        self.ends: list[tuple[float, int]] = []
        self.starts: dict[int, float] = {}
        self.wake: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        self.reported_at = 0.0  # when reports were sent that nothing has come for
        self.delays: list[float] = []
        self.timers: set[str] = set()

    async def live(self) -> None:
        hello = self.core.hello(now())
        key = down_key(hello.sid, hello.ep)
        first = asyncio.ensure_future(self.client.get(key))
        await asyncio.sleep(0)
        self.client.put(self.up, to_value(hello))
        beat = asyncio.create_task(self.beat())
        try:
            message = from_value(await first)
            while True:
                if isinstance(message, Down):
                    if message.tasks and self.reported_at:
                        self.delays.append(now() - self.reported_at)
                        self.reported_at = 0.0
                    self.happens(DownCame(message))
                if self.over.done():
                    return
                message = from_value(await self.client.get(key))
        except KvsError:
            return
        finally:
            beat.cancel()
            await self.client.close()

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(heartbeat_s(self.facts.lease_s))
            self.happens(Tick())

    def happens(self, event: object) -> None:
        for effect in self.core.handle(now(), event):  # type: ignore[arg-type]
            if isinstance(effect, Spawn):
                moment = now()
                self.starts[effect.slot] = moment
                heapq.heappush(self.ends, (moment + self.task_s, effect.slot))
            elif isinstance(effect, Tell):
                if isinstance(effect.message, Up) and effect.message.reports and not self.reported_at:
                    self.reported_at = now()
                self.client.put(self.up, to_value(effect.message))
            elif isinstance(effect, SetTimer):
                if effect.name in ("report", "ahead"):
                    self.set_timer(effect)
            elif isinstance(effect, Leave) and not self.over.done():
                self.over.set_result(None)
        if self.ends and self.wake is None:
            self.wake = self.loop.call_later(max(0.0, self.ends[0][0] - now()), self.end)

    def set_timer(self, timer: SetTimer) -> None:
        if timer.name in self.timers:
            return
        self.timers.add(timer.name)

        def ring() -> None:
            self.timers.discard(timer.name)
            self.happens(TimerRang(timer.name))

        self.loop.call_later(timer.after_s, ring)

    def end(self) -> None:
        self.wake = None
        moment, wall = now(), time.time()
        ended = []
        while self.ends and self.ends[0][0] <= moment:
            slot = heapq.heappop(self.ends)[1]
            took = moment - self.starts[slot]
            ended.append((slot, Outcome(4711, 0, took, wall - took, wall, 0, "", 0, "", 0.0, 1000)))
        self.happens(Ended(ended))


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def connected(info: Info) -> AsyncClient:
    """Tries again for a while: where everything shares a machine, a proof may come too late to be taken."""
    until = now() + CONNECT_S
    while True:
        try:
            return await AsyncClient.connect(
                info.addresses[-1:], token=info.token, certificate_pem=info.certificate_pem, timeout_s=60
            )
        except KvsError:
            if now() > until:
                raise


async def stub_process(prefix: str, count: int, task_s: float) -> dict[str, float]:
    """A context of so many engines. Returns what it saw."""
    control = await connect(prefix)
    facts = await read_facts(control, prefix)
    info = read_info(facts.info_path)
    cid = os.urandom(8).hex()
    key = (CONTEXT_KEY + cid).encode()
    answer = asyncio.ensure_future(control.get(key))
    await asyncio.sleep(0)
    begin = now()
    nodes = tuple((f"stub{os.getpid()}-{number}", SLOTS, False) for number in range(count))
    join = Join(cid, f"S{os.getpid()}", True, 0, nodes, "stubs")
    control.put(join_key(facts.did), Value(JSON, encode_joining(join)))
    welcome = decode_joining((await answer).data)
    assert isinstance(welcome, Welcome), welcome
    gate = asyncio.Semaphore(SIGN_IN_AT_ONCE)

    async def engine(rank: int, node: str) -> list[float]:
        async with gate:
            client = await connected(info)
        stub = Stub(client, facts, rank, node, task_s)
        await stub.live()
        return stub.delays

    lives = [
        asyncio.create_task(engine(rank, node[0])) for rank, node in zip(welcome.ranks, nodes, strict=True)
    ]
    for life in lives:  # an engine that never came must not be waited for
        life.add_done_callback(lambda ended: control.abort() if ended.exception() else None)
    signed_in = 0
    while signed_in < count:
        signed_in += isinstance(decode_joining((await control.get(key)).data), SignedIn)
    seconds = now() - begin
    print(json.dumps({"signed_in_s": seconds}), flush=True)
    delays = [delay for found in await asyncio.gather(*lives) for delay in found]
    control.abort()
    return {"delay_s": statistics.median(delays) if delays else 0.0}


def peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def verify(path: Path, tasks: int) -> None:
    """Each task has one line in the status file, whole, and it says that it succeeded."""
    seen = bytearray(tasks)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            fields = line.split(b"\t", 14)
            assert len(fields) == 15 and line.endswith(b"\n"), f"{path}, line {number} is torn: {line!r}"
            assert fields[6] == b"0", f"{path}, line {number}: the task did not end with 0: {line!r}"
            task_id = int(fields[1])
            assert not seen[task_id], f"{path}, line {number}: a second line of task {task_id}"
            seen[task_id] = 1
    missing = tasks - sum(seen)
    assert not missing, f"{path}: {missing} of {tasks} tasks have no line"


def measure(engines: int, tasks: int, rate: float, folder: Path, stack: ExitStack) -> dict[str, float]:
    """One run of so many tasks on so many engines, which could end `rate` of them a second."""
    task_s = engines * SLOTS / rate
    (folder / "Tasks").write_text(f"#DISBATCH REPEAT {tasks} true\n")
    driver = subprocess.Popen(
        [sys.executable, "-m", "disbatch", "-S", "-p", "run", "--quiet", "--no-usage", "Tasks"], cwd=folder
    )
    stack.callback(driver.kill)
    prefix = str(folder / "run")
    while not (folder / "run_dbUtil.sh").exists() or not (folder / "run_kvsinfo.txt").exists():
        time.sleep(0.01)
    shares = [engines // STUB_PROCESSES + (n < engines % STUB_PROCESSES) for n in range(STUB_PROCESSES)]
    stubs = [
        subprocess.Popen(
            [sys.executable, __file__, "--stub", prefix, str(share), str(task_s)], stdout=subprocess.PIPE
        )
        for share in shares
    ]
    for stub in stubs:
        stack.callback(stub.kill)
    signed_in = max(json.loads(stub.stdout.readline())["signed_in_s"] for stub in stubs if stub.stdout)
    peak = used = 0.0
    while os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        used, peak = cpu_s(driver.pid), max(peak, peak_mb(driver.pid))
        time.sleep(0.2)
    used = cpu_s(driver.pid)
    assert driver.wait() == 0, f"the driver ended with {driver.returncode}"
    delays = [json.loads(stub.communicate()[0].splitlines()[-1])["delay_s"] for stub in stubs]
    verify(folder / "run_status.txt", tasks)
    return {
        "engines": engines,
        "task_s": task_s,
        "signed_in_s": signed_in,
        "cpu_us": used / tasks * 1e6,
        "peak_mb": peak,
        "delay_ms": max(delays) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The driver's cost with 10, 100 and 1,000 engines.")
    parser.add_argument("--quick", action="store_true", help="three tenths of the tasks")
    parser.add_argument("--engines", default="10,100,1000")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--rate", type=float, default=RATE, help="tasks a second, of all engines together")
    parser.add_argument("--stub", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stub:
        prefix, count, task_s = options.stub
        print(json.dumps(asyncio.run(stub_process(prefix, int(count), float(task_s)))), flush=True)
        return
    tasks = options.tasks or (300_000 if options.quick else 1_000_000)
    sizes = [int(size) for size in options.engines.split(",")]
    if tasks < 2 * max(sizes) * SLOTS:
        parser.error(
            f"{max(sizes)} engines hold {max(sizes) * SLOTS} tasks at once: give at least twice as many"
        )
    bash_us = bash_cpu_s() * 1e6
    print(
        f"{tasks} tasks, {options.rate:.0f} a second offered, engines of {SLOTS} slots; one bash -c true: {bash_us:.0f} us CPU"
    )
    print("engines  task takes  signed in  driver CPU a task  of a bash  peak memory  report to batch")
    results = []
    for engines in sizes:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder, ExitStack() as stack:
            r = measure(engines, tasks, options.rate, Path(folder), stack)
        results.append(r)
        print(
            f"{engines:7d}  {r['task_s']:8.2f} s  {r['signed_in_s']:7.2f} s  {r['cpu_us']:14.1f} us"
            f"  1/{bash_us / r['cpu_us']:.0f}  {r['peak_mb']:8.0f} MB  {r['delay_ms']:10.1f} ms",
            flush=True,
        )
    growth = results[-1]["cpu_us"] / results[0]["cpu_us"]
    print(f"CPU a task, largest : smallest = {growth:.2f} (wanted <= {WANTED_GROWTH})")
    print(f"CPU a task, largest : bash = {results[-1]['cpu_us'] / bash_us:.4f} (wanted <= {WANTED_SHARE})")
    print(f"signed in, largest: {results[-1]['signed_in_s']:.1f} s (wanted <= {WANTED_SIGN_IN_S:.0f} s)")


if __name__ == "__main__":
    main()
