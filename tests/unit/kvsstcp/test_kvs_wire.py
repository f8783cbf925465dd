"""The codec: requests and replies, cut anywhere, come out whole; every broken rule has its name."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsstcp import wire
from kvsstcp.errors import BadNumber, ProtocolError, TooLong, UnexpectedReply, UnknownOperation
from kvsstcp.limits import Limits
from kvsstcp.values import Value
from kvsstcp.wire import Request

keys = st.binary(max_size=30)
values = st.builds(
    Value, st.binary(min_size=4, max_size=4).filter(lambda c: c != b"none"), st.binary(max_size=60)
)


def made(op: bytes, key: bytes = b"") -> Request:
    """Without this, hypothesis would make up the value, too."""
    return op, key, wire.EMPTY


def encoded(request: Request) -> bytes:
    op, key, value = request
    if op == wire.PUT:
        return wire.encode_put(key, value)
    if op == wire.MKEY:
        watched, _, events = value.data.rpartition(b":")
        return wire.encode_monitor(key, watched, events.decode())
    if op in (wire.GET, wire.VIEW, wire.TAKE):
        return wire.encode_keyed(op, key)
    return op


requests = st.one_of(
    st.builds(lambda k, v: (wire.PUT, k, v), keys, values),
    st.builds(made, st.sampled_from((wire.GET, wire.VIEW, wire.TAKE)), keys),
    st.builds(
        lambda k, w, e: (wire.MKEY, k, Value(b"", w + b":" + e)),
        keys,
        keys,
        st.sampled_from((b"", b"gp")),
    ),
    st.sampled_from((wire.DUMP, wire.CLOSE, wire.DOWN, wire.CANCEL, wire.JSON_DUMP)).map(made),
)


@settings(deadline=None)
@given(st.lists(requests, max_size=6), st.lists(st.integers(0, 500), max_size=8))
def test_requests_cut_anywhere_come_out_whole(sent: list[Request], cuts: list[int]) -> None:
    data = b"".join(map(encoded, sent))
    decoder, got = wire.RequestDecoder(), []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        got += decoder.feed(data[start:end])
    assert got == sent
    assert decoder.error is None and decoder.held_bytes == 0 and not decoder.unfinished


@settings(deadline=None)
@given(st.lists(requests, max_size=4))
def test_requests_byte_by_byte(sent: list[Request]) -> None:
    data = b"".join(map(encoded, sent))
    decoder = wire.RequestDecoder()
    got = [request for at in range(len(data)) for request in decoder.feed(data[at : at + 1])]
    assert got == sent


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_end_in_requests_or_a_named_error(data: bytes, step: int) -> None:
    decoder = wire.RequestDecoder(Limits(key_bytes=20, value_bytes=50))
    for at in range(0, len(data), step):
        for _, key, value in decoder.feed(data[at : at + step]):
            assert len(key) <= 20 and len(value.data) <= 50
        assert decoder.held_bytes <= 20 + 50 + 28 + step
        if decoder.error is not None:
            assert type(decoder.error) is not ProtocolError
            with pytest.raises(ProtocolError):
                decoder.feed(b"x")
            return


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"xxxx", UnknownOperation),
        (b"x", UnknownOperation),
        (b"pux", UnknownOperation),
        (b"PUT_         1k", UnknownOperation),
        (b"aut1" + bytes(32), UnknownOperation),
        (b"get_        -1k", BadNumber),
        (b"get_        +1k", BadNumber),
        (b"get_       1_0k", BadNumber),
        (b"get_1         k", BadNumber),
        (b"get_          k", BadNumber),
        (b"get_     0x10 k", BadNumber),
        (b"get_         " + "٣".encode()[:1] + b"k", BadNumber),
        (b"get_        21", TooLong),
        (b"view9999999999", TooLong),
        (b"put_         1kASTR        51", TooLong),
        (b"put_         1kASTR        x1", BadNumber),
        (b"mkey         1k        37", TooLong),
    ],
)
def test_each_broken_rule_has_a_name(data: bytes, error: type[ProtocolError]) -> None:
    decoder = wire.RequestDecoder(Limits(key_bytes=20, value_bytes=50))
    assert decoder.feed(b"get_         1a" + data) == [made(wire.GET, b"a")], (
        "what stood before the fault counts"
    )
    assert type(decoder.error) is error


def test_an_announced_length_allocates_nothing() -> None:
    decoder = wire.RequestDecoder()
    decoder.feed(b"put_         1kASTR%10d" % (1 << 30))
    assert decoder.held_bytes == 0 and decoder.unfinished
    decoder.feed(b"x" * 100)
    assert decoder.held_bytes == 100


def test_numbers_may_be_padded_with_zeros_or_blanks() -> None:
    assert wire.number(b"0000000007") == wire.number(b"         7") == 7


def test_what_is_known_is_read_like_what_is_new() -> None:
    """The second of two equal requests is read by the tables that the first has filled."""
    put, get = wire.encode_put(b"k", Value(b"ASTR", b"xy")), wire.encode_keyed(wire.GET, b"k")
    decoder = wire.RequestDecoder(Limits(key_bytes=21))
    first = decoder.feed(put + get)
    for cut in range(len(put + get)):
        assert decoder.feed((put + get)[:cut]) + decoder.feed((put + get)[cut:]) == first
    assert first == [(wire.PUT, b"k", Value(b"ASTR", b"xy")), (wire.GET, b"k", wire.EMPTY)]


def test_what_one_server_knows_is_not_let_through_by_a_stricter_one() -> None:
    request = wire.encode_put(b"k" * 30, Value(b"ASTR", b"x" * 60))
    assert len(wire.RequestDecoder(Limits(key_bytes=30, value_bytes=60)).feed(request)) == 1
    for limits in (Limits(key_bytes=29, value_bytes=60), Limits(key_bytes=30, value_bytes=59)):
        decoder = wire.RequestDecoder(limits)
        assert decoder.feed(request) == []
        assert type(decoder.error) is TooLong


def test_tables_of_what_is_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_SMALL", 10)
    decoder = wire.RequestDecoder(Limits(key_bytes=22))
    for length in range(40):
        decoder.feed(wire.encode_put(b"k", Value(b"%04d" % length, b"x" * length)))
        decoder.feed(wire.encode_keyed(wire.GET, b"k" * min(length, 22)))
    assert len(decoder._heads) <= 10 and len(decoder._tails) <= 10


replies = st.one_of(
    st.builds(lambda v: (wire.GET, v), values),
    st.just((wire.TAKE, None)),
    st.builds(lambda d: (wire.JSON_DUMP, Value(wire.JSON_DUMP, d)), st.binary(max_size=40)),
)


@settings(deadline=None)
@given(st.lists(replies, max_size=6), st.integers(1, 40))
def test_replies_cut_anywhere_come_out_whole(sent: list[tuple[bytes, Value | None]], step: int) -> None:
    decoder, data = wire.ReplyDecoder(), b""
    for op, reply in sent:
        decoder.expect(op)
        if reply is None:
            data += wire.ABSENT
        else:
            data += wire.encode_frame(reply.data) if op == wire.JSON_DUMP else wire.encode_value(reply)
    got = [reply for at in range(0, len(data), step) for reply in decoder.feed(data[at : at + step])]
    assert got == [reply for _, reply in sent] and decoder.due == 0


def test_a_cancelled_get_and_its_cancel_end_together() -> None:
    decoder = wire.ReplyDecoder()
    for op in (wire.GET, wire.CANCEL, wire.GET):
        decoder.expect(op)
    assert decoder.feed(wire.ABSENT + b"ASTR         1x") == [None, None, Value(b"ASTR", b"x")]


def test_a_value_that_overtook_its_cancel() -> None:
    decoder = wire.ReplyDecoder()
    decoder.expect(wire.GET)
    decoder.expect(wire.CANCEL)
    assert decoder.feed(b"ASTR         1x" + wire.ABSENT) == [Value(b"ASTR", b"x"), None]


def test_replies_that_nobody_asked_for() -> None:
    with pytest.raises(UnexpectedReply):
        wire.ReplyDecoder().feed(b"A")
    decoder = wire.ReplyDecoder()
    decoder.expect(wire.GET)
    with pytest.raises(UnexpectedReply):
        decoder.feed(wire.ABSENT)
    decoder = wire.ReplyDecoder(Limits(value_bytes=5))
    decoder.expect(wire.GET)
    with pytest.raises(TooLong):
        decoder.feed(b"ASTR         6")
