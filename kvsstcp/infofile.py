"""The info file: where a server is, and what a client needs to be let in.

    HOST:PORT
    token HEX
    addresses HOST:PORT HOST:PORT ...
    run ID
    -----BEGIN CERTIFICATE-----
    ...

Only the first line must be there: one made by `--addrfile` is an info file of a plain server. Lines with words that are
not known are skipped, so that later versions may add some. The file holds the secret of a run and is made with mode
0600; it is complete from the moment when it has its name.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from kvsstcp.errors import MachineError, UsageError
from kvsstcp.ownfile import check_replaceable, create_file, remove_own
from kvsstcp.trustedfile import open_trusted

Address = tuple[str, int]

_BEGIN = "-----BEGIN CERTIFICATE-----"
_LARGEST_BYTES = 1 << 20

TOKEN_BYTES = 32
"""256 bits: never guessed."""


class Info(NamedTuple):
    """What stands in an info file. `addresses` has every candidate, the best first, and is never empty."""

    addresses: tuple[Address, ...]
    token: bytes | None = None
    run_id: str = ""
    certificate_pem: bytes | None = None

    @property
    def host(self) -> str:
        return self.addresses[0][0]

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    def __repr__(self) -> str:
        # The token must not get into a log by accident.
        return (
            f"Info({', '.join(map(format_address, self.addresses))}, token {'set' if self.token else 'none'})"
        )


def format_address(address: Address) -> str:
    """`HOST:PORT`; an IPv6 address stands in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> Address:
    """The reverse of format_address. Raises UsageError."""
    host, colon, digits = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    named = bool(colon and host) and all(each.isalnum() or each in "._-:%" for each in host)
    if not named or not (digits.isascii() and digits.isdecimal() and 0 < int(digits[:6]) < 65_536):
        raise UsageError(f"not an address of the form HOST:PORT: {text.strip()[:200]!r}")
    return host, int(digits)


def format_info(info: Info, more: tuple[str, ...] = ()) -> str:
    """`more`: lines for readers who know their words."""
    lines = [format_address(info.addresses[0])]
    if info.token is not None:
        lines.append(f"token {info.token.hex()}")
    lines.append("addresses " + " ".join(map(format_address, info.addresses)))
    if info.run_id:
        lines.append(f"run {info.run_id}")
    text = "\n".join([*lines, *more]) + "\n"
    if info.certificate_pem is not None:
        text += info.certificate_pem.decode("ascii").strip() + "\n"
    return text


def parse_info(text: str, name: str = "info file") -> Info:
    """Raises UsageError that names the file and the line."""
    head, begin, certificate = text.partition(_BEGIN)
    # Not splitlines: that would also split at characters which an editor shows as something else.
    lines = [line.removesuffix("\r") for line in head.split("\n")]
    if not head.strip():
        raise UsageError(f"{name}: it is empty; the first line should be HOST:PORT")
    addresses: tuple[Address, ...] = (_address_of_line(lines[0], name, 1),)
    token: bytes | None = None
    run_id = ""
    for line_no, line in enumerate(lines[1:], 2):
        word, _, rest = line.partition(" ")
        if word == "token":
            try:
                token = bytes.fromhex(rest)
            except ValueError as error:
                raise UsageError(f"{name}, line {line_no}: the token is not hexadecimal") from error
            if len(token) < TOKEN_BYTES:
                raise UsageError(f"{name}, line {line_no}: the token is cut short, it has {len(token)} bytes")
        elif word == "addresses":
            candidates = tuple(_address_of_line(part, name, line_no) for part in rest.split())
            addresses = tuple(dict.fromkeys(addresses + candidates))
        elif word == "run":
            run_id = rest.strip()
    pem = (begin + certificate).strip().encode("ascii", "replace") + b"\n" if begin else None
    return Info(addresses, token, run_id, pem)


def read_info(path: str | os.PathLike[str]) -> Info:
    """Raises UsageError for a damaged file, MachineError for one that cannot be read, or is not to be believed."""
    try:
        text = read_private(path)
    except OSError as error:
        raise MachineError(f"cannot read the info file {os.fspath(path)}: {error.strerror}") from error
    return parse_info(text, os.fspath(path))


def read_private(path: str | os.PathLike[str]) -> str:
    """The text of a file that only its owner, this user or root, can write. Raises OSError."""
    descriptor = open_trusted(path, private=True)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST_BYTES)


def write_info(path: str | os.PathLike[str], info: Info, more: tuple[str, ...] = ()) -> None:
    """Write with mode 0600, completely or not at all; an older file of that name is replaced. Raises MachineError."""
    write_private(path, format_info(info, more))


def write_private(path: str | os.PathLike[str], text: str, mode: int = 0o600) -> None:
    """Raises MachineError. The half-written file is called `.NAME.PID.new` and is removed if anything fails."""
    target = os.fspath(path)
    folder, name = os.path.split(target)
    half = os.path.join(folder, f".{name}.{os.getpid()}.new")
    try:
        check_replaceable(target)
        remove_own(half)
        descriptor = create_file(half, mode)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(half, target)
        except BaseException:
            _remove(half)
            raise
    except OSError as error:
        raise MachineError(f"cannot write {target}: {error.strerror}") from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def info_from_environment(environ: Mapping[str, str]) -> Info | None:
    """What KVSSTCP_INFO names, else KVSSTCP_HOST and KVSSTCP_PORT, else None. Raises as read_info."""
    if environ.get("KVSSTCP_INFO"):
        return read_info(environ["KVSSTCP_INFO"])
    if environ.get("KVSSTCP_HOST") and environ.get("KVSSTCP_PORT"):
        return Info((parse_address(f"{environ['KVSSTCP_HOST']}:{environ['KVSSTCP_PORT']}"),))
    return None


def info_from_argument(argument: str) -> Info:
    """HOST:PORT, or the path of an info file. An existing file wins. Raises UsageError or MachineError."""
    if "/" not in argument and not os.path.exists(argument):
        try:
            return Info((parse_address(argument),))
        except UsageError as error:
            raise UsageError(f"{error}, and no info file of that name is here") from error
    return read_info(argument)


def _address_of_line(text: str, name: str, line_no: int) -> Address:
    try:
        return parse_address(text)
    except UsageError as error:
        raise UsageError(f"{name}, line {line_no}: {error}") from error
