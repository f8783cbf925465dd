"""Coroutine tests run in a loop of their own; what they leave behind (a task, a descriptor) fails them."""

import asyncio
import gc
import inspect
import os
import time
from typing import Any

import pytest

SETTLE_S = 2.0  # a descriptor that something else in this process has for a moment is no leak


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    words = {name: pyfuncitem.funcargs[name] for name in names}
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(_checked(pyfuncitem.obj(**words)), debug=False)
    deadline = time.monotonic() + SETTLE_S
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline, f"the test left a descriptor open: {_descriptors()}"
        gc.collect()
    return True


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            pass  # The one that lists the folder.
    return found


async def _checked(test: Any) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    await test
    # Two turns of the loop: closed transports tell their protocols in the next one.
    for _ in range(2):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"the test left tasks: {left}"
    assert not failures, f"the loop met errors: {failures}"
