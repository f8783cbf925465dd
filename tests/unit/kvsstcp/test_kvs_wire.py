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
    return Request(op, key)


def encoded(request: Request) -> bytes:
    if request.op == wire.PUT:
        return wire.encode_put(request.key, request.value)
    if request.op == wire.MKEY:
        watched, _, events = request.value.data.rpartition(b":")
        return wire.encode_monitor(request.key, watched, events.decode())
    if request.op in (wire.GET, wire.VIEW, wire.TAKE):
        return wire.encode_keyed(request.op, request.key)
    return request.op


requests = st.one_of(
    st.builds(lambda k, v: Request(wire.PUT, k, v), keys, values),
    st.builds(made, st.sampled_from((wire.GET, wire.VIEW, wire.TAKE)), keys),
    st.builds(
        lambda k, w, e: Request(wire.MKEY, k, Value(b"", w + b":" + e)),
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
        for request in decoder.feed(data[at : at + step]):
            assert len(request.key) <= 20 and len(request.value.data) <= 50
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
    assert decoder.feed(b"get_         1a" + data) == [Request(wire.GET, b"a")], (
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
