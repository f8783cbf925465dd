"""`python -m kvsstcp server`: a server of its own, secure unless `--plain` is given."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

from kvsstcp.auth import make_certificate, make_token
from kvsstcp.cli_output import TerminalLog, say_error
from kvsstcp.errors import KvsError, MachineError
from kvsstcp.infofile import Address, Info, format_address, write_info
from kvsstcp.ownfile import open_named, write_named
from kvsstcp.server import Server

_EVERYWHERE = ("", "0.0.0.0", "::")


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: that of the command where one is run, else see `__main__`."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not options.plain and options.info_file is None and options.execcmd is None:
        parser.error(
            "nobody could learn the token: give --info-file FILE (or --plain for unauthenticated service)"
        )
    try:
        _start_log(options.logfile)
        return asyncio.run(_run(options))
    except KvsError as error:
        say_error(f"kvsstcp server: {error}")
        return 3


def _start_log(path: str | None) -> None:
    """Raises MachineError."""
    form = "%(asctime)s %(levelname)s %(message)s"
    try:
        if path is None:
            logging.basicConfig(handlers=[TerminalLog()], level=logging.INFO, format=form)
        else:
            # it stays open as long as the program runs
            stream = os.fdopen(open_named(path), "w", encoding="utf-8")
            logging.basicConfig(stream=stream, level=logging.INFO, format=form)
    except OSError as error:
        raise MachineError(f"cannot write the log {path}: {error.strerror}") from error


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:6]) < 65_536):
        raise argparse.ArgumentTypeError(
            f"a port is a number from 0 (any that is free) to 65535, not {text!r}"
        )
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kvsstcp server",
        description="A key-value store over TCP. Unless --plain is given it speaks TLS and serves only clients that know "
        "its token.",
    )
    add = parser.add_argument
    add(
        "-H",
        "--host",
        default=socket.gethostname(),
        help="interface to listen on (default: this host's name)",
    )
    add("-p", "--port", type=_port, default=0, help="port (default: any that is free)")
    add("-a", "--addrfile", metavar="FILE", help="write HOST:PORT to this file")
    add(
        "-e",
        "--execcmd",
        metavar="COMMAND",
        help="run this command with KVSSTCP_HOST, KVSSTCP_PORT and KVSSTCP_INFO set, and end with it",
    )
    add("-l", "--logfile", metavar="FILE", help="log to this file (default: standard error)")
    add("--plain", action="store_true", help="serve everybody who reaches the port, without encryption")
    add(
        "--info-file",
        metavar="FILE",
        help="write address, token and certificate to this file, readable by you only",
    )
    return parser


async def _run(options: argparse.Namespace) -> int:
    secure = not options.plain
    certificate = make_certificate() if secure else None
    token = make_token() if secure else None
    server = Server(token=token, certificate=certificate, alone=True)
    sock = _listen(options.host, options.port)
    address = _shown_address(options.host, sock)
    info = Info((address,), token, "", certificate.certificate_pem if certificate else None)
    with ExitStack() as cleanup:
        info_path = options.info_file
        if info_path is None and secure:
            folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kvsstcp."))
            info_path = os.path.join(folder, "info")
        await server.serve(sock)
        if info_path is not None:
            write_info(info_path, info)
        if options.addrfile:
            _write_address(options.addrfile, address)
        server.log.info(
            "serving at %s%s", format_address(address), "" if secure else ", plain: open to everybody"
        )
        try:
            return await _until_done(server, options.execcmd, address, info_path)
        finally:
            await server.close()
            if options.info_file is not None:
                _remove(options.info_file)


async def _until_done(server: Server, command: str | None, address: Address, info_path: str | None) -> int:
    """Serve until the command ends, or without one until `down`; until a signal comes in any case."""
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stopped, 128 + number)
    ends: list[asyncio.Future[int]] = [stopped]
    process = None
    if command is None:
        ends.append(asyncio.ensure_future(_closed(server)))
    else:
        environment = dict(os.environ, KVSSTCP_HOST=address[0], KVSSTCP_PORT=str(address[1]))
        if info_path is not None:
            environment["KVSSTCP_INFO"] = os.path.abspath(info_path)
        process = await asyncio.create_subprocess_shell(command, env=environment)
        ends.append(asyncio.ensure_future(process.wait()))
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if process is not None and process.returncode is None:
        process.terminate()
        await process.wait()
    code = (ends[1] if ends[1] in done else stopped).result()
    ends[1].cancel()
    # A shell's way to say that a signal ended the command.
    return 128 - code if code < 0 else code


async def _closed(server: Server) -> int:
    await server.wait_closed()
    return 0


def _stop(stopped: "asyncio.Future[int]", code: int) -> None:
    if not stopped.done():
        stopped.set_result(code)


def _listen(host: str, port: int) -> socket.socket:
    """Raises MachineError."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        return socket.create_server(where[:2], family=family, backlog=1024)
    except OSError as error:
        raise MachineError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _shown_address(host: str, sock: socket.socket) -> Address:
    """Where others reach this socket."""
    return (socket.gethostname() if host in _EVERYWHERE else host), sock.getsockname()[1]


def _write_address(path: str, address: Address) -> None:
    try:
        with write_named(path) as file:
            file.write(format_address(address) + "\n")
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror}") from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # Somebody else tidied up, or the folder is gone: either way nothing of ours is left.
