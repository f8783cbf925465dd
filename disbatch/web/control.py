"""What the page may ask for when it was given control, checked before anything is done.

An order is a small JSON object: `{"what": "drain"}`, `{"what": "stop"}`, `{"what": "engine", "name": "3"}`,
`{"what": "context", "name": "J17"}`.
"""

import json
from typing import Literal, NamedTuple, Protocol

from disbatch.core.joining import Answer, StopKind

MOST_BYTES = 4096  # of an order


class Order(NamedTuple):
    what: Literal["drain", "stop"] | StopKind
    name: str = ""  # the rank of an engine, the label of a context


class Steering(Protocol):
    """What carries orders out; each call returns at once."""

    def drain(self) -> None: ...

    def stop(self) -> None: ...

    def stop_softly(self, kind: StopKind, name: str) -> Answer: ...


class OrderError(ValueError):
    """An order that is none, or that cannot be carried out: one line for the person who gave it."""


def read_order(body: bytes) -> Order:
    """Raises OrderError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise OrderError("an order is a JSON object") from None
    what, name = (found.get("what"), found.get("name")) if isinstance(found, dict) else (None, None)
    if what in ("drain", "stop"):
        return Order(what)
    if what in ("engine", "context") and isinstance(name, str):
        return Order(what, name)
    raise OrderError("no such order: drain, stop, engine with its rank, or context with its label are known")


def carry_out(order: Order, steering: Steering) -> str:
    """Returns what is said to the person who asked. Raises OrderError when there is nothing (more) to stop."""
    if order.what == "drain":
        steering.drain()
        return "nothing more is started; what runs is finished"
    if order.what == "stop":
        steering.stop()
        return "what runs is being stopped"
    answer = steering.stop_softly(order.what, order.name)
    if not answer.done:
        raise OrderError(answer.text)
    return answer.text
