"""`AsyncExecutor` with real runs."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from disbatch_runs import processes_of, wait_until

from disbatch import AsyncExecutor, TaskFailed

LIMIT_S = 30


def gate(name: str = "gate") -> str:
    os.mkfifo(name)
    return f"echo > {name}.running; read < {name}"


async def until_exists(name: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not os.path.exists(name):
            await asyncio.sleep(0.005)


async def open_gate(name: str = "gate") -> None:
    await asyncio.to_thread(Path(name).write_text, "\n")


def test_run_and_submit(here: Path) -> None:
    async def main() -> None:
        async with AsyncExecutor("localhost:2") as executor:
            results = await asyncio.gather(*(executor.run("exit", i) for i in range(30)))
            assert [result.returncode for result in results] == list(range(30))
            futures = [executor.submit("exit", i) for i in range(3)]
            assert sorted([(await f).returncode for f in asyncio.as_completed(futures)]) == [0, 1, 2]
            with pytest.raises(TaskFailed):
                await executor.run("exit 1", check=True)
            with pytest.raises(ValueError, match="directive"):
                await executor.run("#DISBATCH BARRIER")
        with pytest.raises(RuntimeError, match="after shutdown"):
            await executor.run("true")

    asyncio.run(main())


def test_only_inside_its_block(here: Path) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        AsyncExecutor("localhost:1").submit("true")


def test_the_loop_goes_on_meanwhile(here: Path) -> None:
    async def main() -> None:
        async with AsyncExecutor("localhost:1") as executor:
            running = asyncio.create_task(executor.run(gate()))
            await until_exists("gate.running")
            await open_gate()
            assert (await running).returncode == 0

    asyncio.run(main())


def test_cancel_before_the_start(here: Path) -> None:
    async def main() -> None:
        async with AsyncExecutor("localhost:1") as executor:
            first = asyncio.create_task(executor.run(gate()))
            await until_exists("gate.running")
            second = asyncio.create_task(executor.run("touch ran"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(second), 0.01)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await open_gate()
            assert (await first).returncode == 0
            assert (await executor.run("true")).task_id == 1

    asyncio.run(main())
    assert not Path("ran").exists()


def test_an_exception_cancels_what_has_not_begun(here: Path) -> None:
    async def main() -> None:
        async with AsyncExecutor("localhost:1") as executor:
            first = asyncio.create_task(executor.run(gate()))
            await until_exists("gate.running")
            rest = executor.submit("touch ran")
            try:
                raise ZeroDivisionError
            finally:
                rest.add_done_callback(lambda future: Path("gate").write_text("\n"))
                assert first is not None

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert not Path("ran").exists()


def test_cancelled_twice_it_ends_its_tasks(here: Path) -> None:
    async def work() -> None:
        async with AsyncExecutor("localhost:1") as executor:
            await executor.run(gate())

    async def main() -> None:
        task = asyncio.create_task(work())
        await until_exists("gate.running")
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()  # what runs is waited for
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT_S)

    asyncio.run(main())
    assert processes_of(os.environ["TEST_MARK"]) == []


def test_cancelled_while_it_starts(here: Path) -> None:
    async def work() -> None:
        async with AsyncExecutor("localhost:1"):
            pass

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until(
        lambda: not any(t.name.startswith("disbatch ") for t in threading.enumerate()), "the session is over"
    )
    assert processes_of(os.environ["TEST_MARK"]) == []
