"""What crosses the KVS between a driver and those who join it: contexts that bring engines, people who give orders.

Rare and small, so each message is a JSON list that begins with its kind and the version. Contexts and people put into
the driver's join mailbox; it answers under the key that they name.
"""

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from disbatch.core.errors import PeerError
from disbatch.core.messages import VERSION
from disbatch.core.printable import is_plain

StopKind = Literal["engine", "context"]
MAX_NODES = 100_000  # of one context; more is not a list of nodes


class Join(NamedTuple):
    """A context wants to bring engines. `nodes` are (name, slots, whether the node can be given back)."""

    cid: str  # random, names the context's mailbox
    label: str
    label_given: bool  # by a person: then it must not be changed
    task_limit: int
    nodes: tuple[tuple[str, int, bool], ...]
    where: str  # host and process id, for the log


class Rejoin(NamedTuple):
    """A context that had joined comes to the driver that has taken the place of the one before. `nodes` are those whose
    engine's process has not ended: (rank, name, slots, whether the node can be given back). `clean`: the others ended
    in order."""

    cid: str
    label: str
    task_limit: int
    nodes: tuple[tuple[int, str, int, bool], ...]
    where: str
    clean: bool


class ProcessGone(NamedTuple):
    """The process that stood for an engine on the context's side is gone."""

    cid: str
    rank: int
    why: str


class Order(NamedTuple):
    """Somebody wants an engine (by rank) or a context (by label) to end: softly, or `hard`, with TERM for what runs.
    The answer goes under `reply_key`."""

    kind: StopKind
    name: str
    reply_key: str
    hard: bool = False


class Welcome(NamedTuple):
    """The context's engines are expected: their ranks, in the order of its nodes."""

    label: str
    ranks: tuple[int, ...]


class Refusal(NamedTuple):
    why: str


class SignedIn(NamedTuple):
    """An engine of the context has said hello: its launcher has done its work."""

    rank: int


class SweepOrder(NamedTuple):
    """To a context: an engine of it is lost; what is left of it on its node is to be killed."""

    rank: int
    sid: str  # which of its sessions; the context does not need it, and gives it back


class SweptThere(NamedTuple):
    """From a context: the answer. `clean`: nothing of that engine is left; else its node could not be asked."""

    cid: str
    rank: int
    sid: str
    clean: bool


class Answer(NamedTuple):
    """What became of an order, for people."""

    done: bool
    text: str


Joining = (
    Join | Rejoin | ProcessGone | Order | Welcome | Refusal | SignedIn | SweepOrder | SweptThere | Answer
)

_LETTERS: dict[type, str] = {
    Join: "J",
    Rejoin: "B",
    ProcessGone: "G",
    Order: "O",
    Welcome: "W",
    Refusal: "R",
    SignedIn: "S",
    SweepOrder: "K",
    SweptThere: "T",
    Answer: "A",
}


def encode_joining(message: Joining) -> bytes:
    """The message as JSON text in ASCII."""
    return json.dumps([_LETTERS[type(message)], VERSION, *message]).encode("ascii")


def decode_joining(data: bytes) -> Joining:
    """The message in `data`. Raises PeerError for anything that is not one, or of another version."""
    try:
        kind, version, *fields = json.loads(data)
        if version != VERSION:
            raise PeerError(f"a message of protocol version {version!r}; this program speaks {VERSION}")
        return _READERS[kind](*fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PeerError(f"not a message about joining a run ({error}): {data[:80]!r}") from None


def _join(cid: Any, label: Any, given: Any, limit: Any, nodes: Any, where: Any) -> Join:
    if len(nodes) > MAX_NODES:
        raise ValueError(f"{len(nodes)} nodes")
    rows = tuple([(_name(name), _number(slots, 1), retires is True) for name, slots, retires in nodes])
    return Join(_text(cid), _text(label), given is True, _number(limit, 0), rows, _name(where))


def _rejoin(cid: Any, label: Any, limit: Any, nodes: Any, where: Any, clean: Any) -> Rejoin:
    if len(nodes) > MAX_NODES:
        raise ValueError(f"{len(nodes)} nodes")
    rows = [
        (_number(r, 0), _name(name), _number(slots, 1), retires is True) for r, name, slots, retires in nodes
    ]
    return Rejoin(_text(cid), _text(label), _number(limit, 0), tuple(rows), _name(where), clean is True)


def _order(kind: Any, name: Any, reply_key: Any, hard: Any) -> Order:
    if kind not in ("engine", "context"):
        raise ValueError(f"unknown kind {kind!r}")
    return Order(kind, _text(name), _text(reply_key), hard is True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _name(value: object) -> str:
    """Of a host, which goes to logs, terminals and status lines."""
    text = _text(value)
    if not is_plain(text):
        raise ValueError(f"{text!r} has control characters")
    return text


def _number(value: object, at_least: int) -> int:
    if type(value) is not int or value < at_least:
        raise ValueError(f"{value!r} is no number from {at_least}")
    return value


_READERS: dict[str, Callable[..., Joining]] = {
    "J": _join,
    "B": _rejoin,
    "G": lambda cid, rank, why: ProcessGone(_text(cid), _number(rank, 0), _text(why)),
    "O": _order,
    "W": lambda label, ranks: Welcome(_text(label), tuple([_number(rank, 0) for rank in ranks])),
    "R": lambda why: Refusal(_text(why)),
    "S": lambda rank: SignedIn(_number(rank, 0)),
    "K": lambda rank, sid: SweepOrder(_number(rank, 0), _text(sid)),
    "T": lambda cid, rank, sid, clean: SweptThere(_text(cid), _number(rank, 0), _text(sid), clean is True),
    "A": lambda done, text: Answer(done is True, _text(text)),
}
