"""The web page's server beside a real run: who is let in, what browsers are told, the stream, and what is left behind."""

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from disbatch_runs import DEADLINE_S, ROOT, Bench, Run, wait_until

WAIT = "until [ -e go ]; do sleep 0.02; done\n"


class Page:
    """The page of a run, as a client finds it."""

    def __init__(self, run: Run) -> None:
        self._bench = run.bench
        run.until((run.bench.path / "run_url").exists, "the page's address")
        parts = urlsplit(self.url)
        self.base = f"http://{parts.netloc}"
        self.token = run.bench.read("run_webtoken").strip()
        self.bearer = {"Authorization": f"Bearer {self.token}"}

    @property
    def url(self) -> str:
        """The address, as it is in its file now."""
        return self._bench.read("run_url").strip()

    @property
    def ticket(self) -> str:
        return urlsplit(self.url).fragment.removeprefix("token=")

    def ask(self, work: "Callable[[aiohttp.ClientSession], Awaitable[None]]") -> None:
        async def asked() -> None:
            jar = aiohttp.CookieJar(unsafe=True)  # cookies of addresses without a name
            async with aiohttp.ClientSession(self.base, cookie_jar=jar) as session:
                await self._until_served(session)
                await work(session)

        asyncio.run(asyncio.wait_for(asked(), DEADLINE_S))

    async def _until_served(self, session: aiohttp.ClientSession) -> None:
        # the socket listens before anything runs; whoever comes early waits for an answer, or is sent away
        while True:
            try:
                async with session.get("/picture") as answer:
                    assert answer.status == 403
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, object]]]:
    """Name and data of each event; `id` is put into the data."""
    name, number = "", ""
    async for line in answer.content:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "id":
            number = value
        elif key == "data":
            yield name, json.loads(value) | {"id": number}


def start(bench: Bench, *arguments: str, tasks: str = "true\n" + WAIT) -> tuple[Run, Page]:
    run = bench.start_here(2, "-w", *arguments, tasks=tasks)
    return run, Page(run)


def finish(bench: Bench, run: Run) -> None:
    bench.file("go", "")
    assert run.end().code == 0


def test_the_address_is_a_secret_and_is_gone_with_the_run(bench: Bench) -> None:
    run, page = start(bench)
    url, ticket = bench.path / "run_url", page.ticket
    assert (
        stat.S_IMODE(url.stat().st_mode)
        == 0o600
        == stat.S_IMODE((bench.path / "run_webtoken").stat().st_mode)
    )
    assert len(ticket) >= 43 and "?" not in page.url
    assert page.base.startswith("http://127.0.0.1:") and len(page.token) >= 43
    finish(bench, run)
    assert not url.exists()
    assert not (bench.path / "run_webtoken").exists()
    for secret in (page.token, ticket):
        assert "run_url" in run.err() and secret not in run.err() + run.out()
        assert all(secret not in path.read_text() for path in bench.path.iterdir() if path.is_file())


def test_a_killed_driver_leaves_no_page(bench: Bench) -> None:
    run, _page = start(bench)
    run.signal(15)
    assert run.end().code == 143
    assert not (bench.path / "run_url").exists() and not (bench.path / "run_webtoken").exists()


def test_nobody_without_the_token(bench: Bench) -> None:
    run, page = start(bench)

    async def tries(session: aiohttp.ClientSession) -> None:
        for path in ("/plotly.min.js", "/plotly.min.js?key=x", f"/plotly.min.js?key={page.token}", "/session", "/events", "/picture",
                     f"/events?token={page.token}", f"/picture?key={page.ticket}", "/nothing"):  # fmt: skip
            async with session.get(path) as answer:
                assert (answer.status, answer.cookies.get("x")) == (403, None), path
                assert page.token not in await answer.text() and not answer.cookies
                assert "disBatch" in answer.headers["Server"] and "aiohttp" not in answer.headers["Server"]
        for secret in ("x", page.ticket, page.token[:-1]):
            async with session.get("/picture", headers={"Authorization": f"Bearer {secret}"}) as answer:
                assert answer.status == 403
        for ticket in ("", "x", page.token, page.ticket + "x"):
            async with session.post("/session", data=ticket) as answer:
                assert answer.status == 403 and "PREFIX_url" in await answer.text()
        async with session.post("/control", json={"what": "stop"}) as answer:
            assert answer.status == 403

    page.ask(tries)
    finish(bench, run)


def test_what_a_browser_is_told(bench: Bench) -> None:
    run, page = start(bench)

    async def loads(session: aiohttp.ClientSession) -> None:
        async with session.get("/") as answer:
            assert answer.status == 200 and "<title>" in await answer.text()
            assert page.token not in await answer.text()
            headers = answer.headers
            assert "Set-Cookie" not in headers
            assert (
                "default-src 'none'" in headers["Content-Security-Policy"]
                and "unsafe" not in headers["Content-Security-Policy"]
            )
            assert (
                headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"
            )
            assert headers["Cache-Control"] == "no-store"
            assert not [name for name in headers if name.lower().startswith("access-control")]
        # nothing in the page itself is of the run: every file of it is there for everybody
        async with session.get("/") as answer:
            text = await answer.text()
            assert answer.status == 200
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
        for name in os.listdir(ROOT / "disbatch/web/static"):
            async with session.get(f"/static/{name}") as answer:
                assert answer.status == 200, name
                expected = {
                    ".js": "text/javascript",
                    ".css": "text/css",
                    ".svg": "image/svg+xml",
                    ".html": "text/html",
                }
                assert answer.content_type == expected[Path(name).suffix]
        async with session.get("/session", headers=page.bearer) as answer:
            charts = (await answer.json())["charts"]
        async with session.get(charts) as answer:
            assert answer.content_type == "text/javascript" and len(await answer.read()) > 1_000_000
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        for path in ("/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/page.py", "/nothing"):
            async with session.get(path, headers=page.bearer) as answer:
                assert answer.status == 404, path

    page.ask(loads)
    finish(bench, run)


def test_the_stream_goes_on_after_a_break(bench: Bench) -> None:
    run, page = start(bench, tasks="true\nfalse\n" + WAIT + WAIT)

    async def looks(session: aiohttp.ClientSession) -> None:
        async with session.get("/events", headers=page.bearer) as answer:
            assert answer.content_type == "text/event-stream"
            stream = events(answer)
            name, whole = await anext(stream)
            assert name == "whole" and whole["run"]["name"] == "Tasks" and not whole["run"]["control"]  # type: ignore[index]
            while True:
                name, tick = await anext(stream)
                assert name == "tick"
                if tick["counts"]["running"] == 2:  # type: ignore[index]
                    break
        async with session.get("/picture", headers=page.bearer) as answer:
            picture = await answer.json()
        assert {bar[6] for bar in picture["bars"]} == {0, 1}
        assert [group[:4] for group in picture["groups"]] == [[1, "", "", 1]]
        assert [example["command"] for example in picture["examples"]] == ["false"]
        assert {task[3] for task in picture["open"]} == {2, 3}
        missed = int(str(tick["id"]))
        async with session.get("/events", headers=page.bearer | {"Last-Event-ID": str(missed)}) as answer:
            name, after = await anext(events(answer))
            assert name == "tick" and int(str(after["id"])) == missed + 1

    page.ask(looks)
    finish(bench, run)


def test_whoever_looks_sees_the_end(bench: Bench) -> None:
    run, page = start(bench, tasks="false\n" + WAIT)
    ends: list[dict[str, object]] = []

    async def looks(session: aiohttp.ClientSession) -> None:
        async with session.get("/events", headers=page.bearer) as answer:
            async for _name, data in events(answer):
                bench.file("go", "")
                if data["end"]:
                    ends.append(data)

    page.ask(looks)
    assert run.end().code == 0
    (last,) = ends
    assert last["end"]["exit_code"] == 0 and last["counts"]["done"] == 1 and last["counts"]["failed"] == 1  # type: ignore[index]
    assert last["open"] == []


def test_a_viewer_that_does_not_read_keeps_nobody(bench: Bench) -> None:
    run, page = start(bench, tasks="".join(f"echo {'x' * 200}{n}; false\n" for n in range(300)) + WAIT)

    async def hangs() -> None:
        host, port = urlsplit(page.base).netloc.split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(
            f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {page.token}\r\n\r\n".encode()
        )
        await writer.drain()
        run.until(lambda: len(bench.done()) == 300, "the tasks are done")
        finish(bench, run)
        writer.close()

    asyncio.run(asyncio.wait_for(hangs(), DEADLINE_S))


def test_many_connections_do_not_take_the_descriptors_of_the_run(bench: Bench) -> None:
    run, page = start(bench)
    page.ask(nothing)
    host, port = urlsplit(page.base).netloc.split(":")
    with contextlib.ExitStack() as crowd:
        sockets = [
            crowd.enter_context(socket.create_connection((host, int(port)), DEADLINE_S)) for _ in range(400)
        ]
        assert sockets[0].recv(1) == b""  # hung up on
        # those that are refused are accepted first, some dozens at a time
        run.until(lambda: len(os.listdir(f"/proc/{run.pid}/fd")) < 350, "what is too much is closed")
    page.ask(nothing)
    finish(bench, run)


async def nothing(session: aiohttp.ClientSession) -> None:
    """Only asks whether the page is there."""


def test_the_page_only_looks_unless_it_was_given_control(bench: Bench) -> None:
    run, page = start(bench)

    async def orders(session: aiohttp.ClientSession) -> None:
        async with session.post("/control", headers=page.bearer, json={"what": "stop"}) as answer:
            assert answer.status == 404

    page.ask(orders)
    finish(bench, run)


def test_orders_come_from_the_page_itself(bench: Bench) -> None:
    run, page = start(bench, "--web-control")

    async def orders(session: aiohttp.ClientSession) -> None:
        async with session.post("/session", data=page.ticket) as answer:
            known = {"Authorization": f"Bearer {(await answer.json())['session']}"}
        stop = {"what": "stop"}
        async with session.post("/control", json=stop, headers={"Origin": page.base}) as answer:
            assert answer.status == 403  # nothing that a browser adds by itself is enough
        for origin in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": page.base + "1"},
        ):
            async with session.post("/control", json=stop, headers=known | origin) as answer:
                assert answer.status == 403, origin
        async with session.post(
            "/control", json=stop, headers=page.bearer | {"Origin": "http://evil.example"}
        ) as answer:
            assert answer.status == 403
        async with session.get("/control", headers=known) as answer:
            assert answer.status == 405
        own = known | {"Origin": page.base}
        async with session.post("/control", json={"what": "burn"}, headers=own) as answer:
            assert answer.status == 400 and "no such order" in (await answer.json())["error"]
        async with session.post("/control", json={"what": "engine", "name": "7"}, headers=own) as answer:
            assert answer.status == 400 and "7" in (await answer.json())["error"]
        async with session.post("/control", data=b"x" * 10_000, headers=own) as answer:
            assert answer.status == 413
        async with session.post("/control", json={"what": "drain"}, headers=own) as answer:
            assert answer.status == 200 and "finished" in (await answer.json())["told"]

    page.ask(orders)
    bench.file("go", "")
    result = run.end()
    assert result.code == 130 and bench.done() == [0, 1]


def test_an_engine_is_stopped_softly(bench: Bench) -> None:
    run, page = start(bench, "--web-control", tasks=WAIT + WAIT + "true\n" * 5)

    async def orders(session: aiohttp.ClientSession) -> None:
        await wait_for_running(session, page, 2)
        order = {"what": "engine", "name": "0"}
        async with session.post("/control", json=order, headers=page.bearer) as answer:
            assert answer.status == 200, await answer.text()

    page.ask(orders)
    bench.file("go", "")
    assert run.end().code == 3  # no engine is left for the rest
    assert bench.done() == [0, 1]


async def wait_for_running(session: aiohttp.ClientSession, page: Page, count: int) -> None:
    async with session.get("/events", headers=page.bearer) as answer:
        async for _, data in events(answer):
            if data["counts"]["running"] == count:  # type: ignore[index]
                return


def test_the_token_is_in_no_task(bench: Bench) -> None:
    run, page = start(
        bench, "--loglevel", "DEBUG", tasks="env; cat /proc/self/environ /proc/$PPID/cmdline >seen\n" + WAIT
    )

    async def loads(session: aiohttp.ClientSession) -> None:
        async with session.post("/session", data=page.ticket) as answer:
            assert answer.status == 200

    page.ask(loads)
    run.until(lambda: 0 in bench.done(), "the first task is done")
    seen = (bench.path / "seen").read_bytes()
    assert seen and page.token.encode() not in seen
    for pid in (run.pid, *run.engine_pids()):
        for name in ("cmdline", "environ"):
            assert page.token.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    inodes = {
        os.readlink(f"/proc/{pid}/fd/{fd}")
        for pid in run.engine_pids()
        for fd in os.listdir(f"/proc/{pid}/fd")
    }
    assert page_socket(run, page) not in inodes
    finish(bench, run)
    for path in bench.path.iterdir():
        assert page.token not in path.read_text(errors="replace") or path.name == "run_webtoken"


def page_socket(run: Run, page: Page) -> str:
    """The listening socket of the page, as /proc names it."""
    port = f":{int(page.base.rsplit(':', 1)[1]):04X}"
    for line in Path(f"/proc/{run.pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(port) and fields[3] == "0A":
            return f"socket:[{fields[9]}]"
    raise AssertionError("the page listens nowhere")


def test_on_a_terminal_the_address_is_printed(bench: Bench) -> None:
    bench.file("Tasks", WAIT)
    typescript = bench.io("typescript")
    command = (
        f"script -qec 'exec {os.sys.executable} -m disbatch -s localhost:1 -p run -w Tasks' {typescript}"  # type: ignore[attr-defined]
    )
    shell = subprocess.Popen(["/bin/bash", "-c", command], cwd=bench.path, env=bench.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_until(
            lambda: (bench.path / "run_url").exists() and bench.read("run_url"), "the address is written"
        )
        base = bench.read("run_url").split("#")[0]
        wait_until(
            lambda: f"{base}#token=" in typescript.read_text(errors="replace").replace("\r\n", ""),
            "the address is printed",
        )
    finally:
        bench.file("go", "")
        shell.wait(DEADLINE_S)


def test_an_address_that_cannot_be_had(bench: Bench) -> None:
    run, page = start(bench)
    port = page.base.rsplit(":", 1)[1]
    bench.file("More", "touch never\n")
    result = bench.run("-s", "localhost:1", "-p", "more", "-w", "--web-address", port, "More")
    assert result.code == 2 and f"--web-address 127.0.0.1:{port}" in result.err
    assert not (bench.path / "never").exists() and not list(bench.path.glob("more_*"))
    finish(bench, run)


def test_a_page_that_others_can_reach_is_warned_about(bench: Bench) -> None:
    run, page = start(bench, "--web-address", "0.0.0.0:0")
    assert (
        "not encrypted" in run.err()
        and page.base == f"http://{os.uname().nodename}:{page.base.rsplit(':', 1)[1]}"
    )
    finish(bench, run)


def test_without_the_packages_nothing_runs(bench: Bench) -> None:
    blocked = bench.path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'aiohttp' else find(name, *more)\n"
    )
    bench.env["PYTHONPATH"] = f"{blocked}:{ROOT}"
    result = bench.here(1, "-w", tasks="touch never\n")
    assert result.code == 2 and f"aiohttp; {sys.executable} -m pip install aiohttp\n" in result.err
    assert not (bench.path / "never").exists() and not list(bench.path.glob("run_*"))


@pytest.mark.parametrize("web", [False, True])
def test_aiohttp_is_imported_for_the_page_alone(bench: Bench, web: bool) -> None:
    arguments = ["-w"] if web else []
    bench.env["PYTHONPROFILEIMPORTTIME"] = "1"
    result = bench.here(1, *arguments, tasks="true\n")
    assert result.code == 0 and ("aiohttp" in result.err) is web
    assert "| plotly" not in result.err


def test_the_address_opens_once_and_its_file_always_has_a_fresh_one(bench: Bench) -> None:
    run, page = start(bench)

    async def opens(session: aiohttp.ClientSession) -> None:
        made = set()
        for _ in range(3):
            ticket = page.ticket
            async with session.post("/session", data=ticket) as answer:
                assert answer.status == 200
                made.add((await answer.json())["session"])
            async with session.post("/session", data=ticket) as answer:
                assert answer.status == 403 and "fresh one is in PREFIX_url" in await answer.text()
            while page.ticket == ticket:
                await asyncio.sleep(0.01)
        assert len(made) == 3
        for known in made:
            async with session.get("/picture", headers={"Authorization": f"Bearer {known}"}) as answer:
                assert answer.status == 200
        assert stat.S_IMODE((bench.path / "run_url").stat().st_mode) == 0o600

    page.ask(opens)
    finish(bench, run)
    assert not list(bench.path.glob("run_url*"))


def test_nothing_that_a_browser_sends_by_itself_is_a_key(bench: Bench) -> None:
    """Cookies go to every port of a host: whoever serves another one must not get what opens this page."""
    run, page = start(bench, "--web-control")

    async def looks(session: aiohttp.ClientSession) -> None:
        for path in ("/", "/static/main.js"):
            async with session.get(path, headers=page.bearer) as answer:
                assert answer.status == 200 and "Set-Cookie" not in answer.headers
        async with session.post("/session", data=page.ticket) as answer:
            made = (await answer.json())["session"]
            assert "Set-Cookie" not in answer.headers
        async with session.get(
            "/picture", headers={"Cookie": f"session={made}; disbatch={page.token}"}
        ) as answer:
            assert answer.status == 403
        assert len(session.cookie_jar) == 0

    page.ask(looks)
    finish(bench, run)


def test_metrics_for_prometheus_with_the_token(bench: Bench) -> None:
    run, page = start(bench, tasks="true\nfalse\n" + WAIT)

    async def scrapes(session: aiohttp.ClientSession) -> None:
        async with session.get("/metrics") as answer:
            assert answer.status == 403
        await wait_for_running(session, page, 1)
        async with session.get("/metrics", headers=page.bearer) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = await answer.text()
        for sample in ('{result="done"} 1', '{result="failed"} 1', 'disbatch_tasks{state="running"} 1'):
            assert f"{sample}\n" in text

    page.ask(scrapes)
    finish(bench, run)


def test_the_last_picture_is_kept_whether_anybody_looked_or_not(bench: Bench) -> None:
    run, page = start(bench, tasks="true\nfalse\n" + WAIT)
    finish(bench, run)
    text = bench.read("run_page.html")
    found = re.search('id="picture">(.*?)</script>', text)
    assert found is not None
    picture = json.loads(found[1])
    assert picture["counts"]["done"] == 2 and picture["end"]["saved"] == str(bench.path / "run_page.html")
    assert page.token not in text and "src=" not in text and "http://127" not in text


def test_a_last_picture_that_cannot_be_kept_is_told(bench: Bench) -> None:
    run, page = start(bench, tasks="true\n" + WAIT)
    (bench.path / "run_page.html").symlink_to("precious")

    async def looks(session: aiohttp.ClientSession) -> None:
        async with session.get("/events", headers=page.bearer) as answer:
            async for _name, data in events(answer):
                bench.file("go", "")
                if data["end"]:
                    assert data["end"]["saved"] == ""  # type: ignore[index]

    page.ask(looks)
    done = run.end()
    assert done.code == 0 and "run_page.html" in done.err and not (bench.path / "precious").exists()


def test_a_task_is_looked_up_with_the_token(bench: Bench) -> None:
    run, page = start(bench, tasks="true\nexit 7\n" + WAIT)

    async def asks(session: aiohttp.ClientSession) -> None:
        async with session.get("/task/1") as answer:
            assert answer.status == 403
        await wait_for_running(session, page, 1)
        async with session.get("/task/1", headers=page.bearer) as answer:
            found = await answer.json()
        assert [r["returncode"] for r in found["rows"]] == [7] and found["again"].startswith(
            f"cd {bench.path} && env "
        )
        async with session.get("/task/2", headers=page.bearer) as answer:
            found = await answer.json()
        assert found["rows"] == [] and found["running"]["command"] == WAIT.strip()
        for path in ("/task/x", "/task/-1", "/task/", "/task/" + "9" * 19):
            async with session.get(path, headers=page.bearer) as answer:
                assert answer.status == 404, path

    page.ask(asks)
    finish(bench, run)
