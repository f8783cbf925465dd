"""Codings, and what must not be imported or loaded."""

import subprocess
import sys

import pytest

import kvsstcp
from kvsstcp.errors import UsageError
from kvsstcp.values import Value, as_coding, as_key, as_value, json_value, text_value


def test_codings() -> None:
    assert text_value("é") == (b"ASTR", "é".encode()) == as_value("é")
    assert json_value({"a": [1]}).json() == {"a": [1]}
    assert as_value(b"\xff").text() == "\\xff"
    assert as_key("k\udcff") == b"k\xff"
    for bad in (
        lambda: text_value("x").json(),
        lambda: Value(b"JSON", b"{").json(),
        lambda: json_value(object()),
    ):
        with pytest.raises(UsageError):
            bad()
    for coding in ("ABC", b"ABCDE", 7):
        with pytest.raises(UsageError):
            as_coding(coding)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        as_value({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        as_key(7)  # type: ignore[arg-type]


def test_every_public_name_is_there() -> None:
    for name in kvsstcp.__all__:
        assert getattr(kvsstcp, name).__module__.startswith("kvsstcp.")
    with pytest.raises(AttributeError):
        kvsstcp.nothing  # noqa: B018


@pytest.mark.parametrize("module", ["server", "aclient", "client"])
def test_what_a_plain_or_token_only_user_pays_for(module: str) -> None:
    program = (
        f"import sys, kvsstcp.{module}; print([m for m in ('ssl', 'cryptography', 'pickle', 'kvsstcp.tls')"
        " if m in sys.modules and not (m == 'ssl' and 'asyncio' in sys.modules)])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
