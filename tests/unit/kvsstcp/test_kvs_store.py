"""The store against a model that is plain enough to be believed at sight; monitors; dumps."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsstcp.dumps import json_dump, pickle_dump
from kvsstcp.errors import BadMonitor
from kvsstcp.limits import Limits
from kvsstcp.store import Store
from kvsstcp.values import Value


def text(data: bytes) -> Value:
    return Value(b"ASTR", data)


class Model:
    """The store in ten lines: `waits` has (reader, key, takes), the longest waiting first; `out` (reader, value)."""

    def __init__(self) -> None:
        self.values, self.waits, self.out = {}, [], []

    def put(self, key, value):
        views = [w for w in self.waits if w[1] == key and not w[2]]
        gets = [w for w in self.waits if w[1] == key and w[2]][:1]
        self.waits = [w for w in self.waits if w not in views + gets]
        self.out += [(w[0], value) for w in views + gets]
        if not gets:
            self.values.setdefault(key, []).append(value)

    def read(self, reader, key, takes):
        self.gone(reader)
        if self.values.get(key):
            self.out.append((reader, self.values[key].pop(0) if takes else self.values[key][-1]))
        else:
            self.waits.append((reader, key, takes))

    def gone(self, reader):
        self.waits = [w for w in self.waits if w[0] != reader]


KEYS = st.sampled_from((b"a", b"b"))
READERS = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.sampled_from(("get", "view")), READERS, KEYS),
    st.tuples(st.just("gone"), READERS),
    st.tuples(st.just("take"), KEYS),
)


@settings(deadline=None)
@given(st.integers(0, 60).flatmap(lambda count: st.lists(steps, min_size=count, max_size=count)))
def test_the_store_does_what_the_model_does(sequence) -> None:
    store, model, out = Store(), Model(), []
    for number, (what, *words) in enumerate(sequence):
        value = text(b"%d" % number)
        if what == "put":
            store.put(*words, value)
            model.put(*words, value)
        elif what == "gone":
            store.cancel(*words)
            model.gone(*words)
        elif what == "take":
            held = model.values.get(*words)
            assert store.take(*words) == (held.pop(0) if held else None)
        else:
            found = getattr(store, what)(*words)
            if found is not None:
                out.append((words[0], found))
            model.read(*words, what == "get")
        out += store.due
        store.due = []
        store.check_invariants()
        assert sorted(out) == sorted(model.out)
    left = {key: values for key, values in model.values.items() if values}
    assert {each.key: (each.values, each.newest) for each in store.summaries()} == {
        key: (len(values), values[-1]) for key, values in left.items()
    }
    assert store.value_count == sum(map(len, left.values()))


def test_order_oldest_first_and_newest_in_view() -> None:
    store: Store[int] = Store()
    for data in (b"1", b"2", b"3"):
        store.put(b"k", text(data))
    assert store.view(1, b"k") == text(b"3")
    assert [store.get(1, b"k") for _ in range(3)] == [text(b"1"), text(b"2"), text(b"3")]
    assert store.get(1, b"k") is None


def events(store: Store[int], key: bytes) -> list[bytes]:
    found = []
    while (value := store.take(key)) is not None:
        found.append(value.data)
    return found


def test_monitors_report_what_was_asked_for() -> None:
    store: Store[int] = Store()
    store.monitor(b"M", b"q:gpvw")
    store.get(1, b"q")
    store.put(b"q", text(b"x"))
    store.put(b"q", text(b"y"))
    store.view(1, b"q")
    store.put(b"other", text(b"z"))
    assert events(store, b"M") == [
        b"(b'wait', b'q')",
        b"(b'put', b'q')",
        b"(b'get', b'q')",
        b"(b'put', b'q')",
        b"(b'view', b'q')",
    ]


def test_an_empty_key_means_every_key_but_monitor_keys() -> None:
    store: Store[int] = Store()
    store.monitor(b"M", b":pg")
    store.monitor(b"N", b"M:pg")
    store.put(b"a", text(b"1"))
    store.take(b"a")
    store.put(b"M", text(b"by hand"))
    assert events(store, b"N") == [], "what happens to monitor keys is never reported"
    assert events(store, b"M") == [b"(b'put', b'a')", b"(b'get', b'a')", b"by hand"]


def test_events_not_listed_are_no_longer_monitored() -> None:
    store: Store[int] = Store()
    store.monitor(b"M", b"a:b:gp")
    store.monitor(b"M", b"a:b:g")
    store.put(b"a:b", text(b"1"))
    store.take(b"a:b")
    assert events(store, b"M") == [b"(b'get', b'a:b')"]
    store.monitor(b"M", b"a:b:")
    store.put(b"a:b", text(b"1"))
    assert events(store, b"M") == []
    store.check_invariants()


def test_a_monitor_event_goes_to_who_waits_for_it() -> None:
    store: Store[int] = Store()
    store.monitor(b"M", b"q:p")
    assert store.get(7, b"M") is None
    store.put(b"q", text(b"x"))
    assert store.due == [(7, text(b"(b'put', b'q')"))]


@pytest.mark.parametrize("what", [b"nocolon", b"k:x", b"k:gx"])
def test_bad_monitors(what: bytes) -> None:
    with pytest.raises(BadMonitor):
        Store().monitor(b"M", what)


def test_monitors_are_counted() -> None:
    store: Store[int] = Store(Limits(monitors=2))
    store.monitor(b"M", b"a:p")
    store.monitor(b"M", b"b:p")
    with pytest.raises(BadMonitor):
        store.monitor(b"M", b"c:p")
    store.monitor(b"M", b"a:")
    store.monitor(b"M", b"c:p")
    store.check_invariants()


def test_dumps_show_counts_waits_and_values() -> None:
    store: Store[int] = Store()
    store.put(b"s", text(b"short"))
    store.put(b"l", text(b"x" * 100))
    store.put(b"p", Value(b"PYPK", b"12"))
    store.get(1, b"w\xff")
    numbers, waits, values = pickle.loads(pickle_dump(store, Limits()))
    assert numbers[:4] == [0, 3, 0, 1] and waits == [(b"w\xff", 1)]
    assert values[0] == (b"s", 1, (b"ASTR", b"short"))
    assert values[1] == (b"l", 1, (b"ASTR", b"x" * 24 + b"..." + b"x" * 23, 100))
    assert values[2] == (b"p", 1, (b"PYPK", None, 2))
    document = json.loads(json_dump(store, Limits()))
    assert document["waits"] == [["w\\xff", 1]] and document["complete"]
    assert document["values"][2] == ["p", 1, "PYPK", 2, None]
    assert not json.loads(json_dump(store, Limits(dump_keys=2)))["complete"]
