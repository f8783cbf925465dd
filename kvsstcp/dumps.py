"""What a dump shows: counts, waits and values of a store, as the pickle that old clients read and as JSON.

The pickle holds numbers, tuples and bytes only. It is written here and read nowhere in this package.
"""

import json
from itertools import islice
from typing import Any

from kvsstcp.limits import Limits
from kvsstcp.store import KeySummary, Store
from kvsstcp.values import ASTR, JSON, Value

# Longer text is shown by its two ends, so that a dump stays readable.
_SHOWN_BYTES = 50
_HEAD_BYTES, _TAIL_BYTES = 24, 23


def pickle_dump(store: Store[Any], limits: Limits) -> bytes:
    """For old clients: `([gets, puts, views, waits, waits, answered waits], [(key, waiters)], [(key, values, newest)])`
    with newest `(coding, bytes or None[, length])`. The fifth number has always been the fourth's twin there."""
    import pickle

    counts = store.counts
    numbers = [counts.gets, counts.puts, counts.views, counts.waits, counts.waits, counts.answered]
    waits = list(islice(store.waiters(), limits.dump_keys))
    values = [
        (each.key, each.values, _old_form(each.newest))
        for each in islice(store.summaries(), limits.dump_keys)
    ]
    return pickle.dumps((numbers, waits, values), protocol=2)


def json_dump(store: Store[Any], limits: Limits) -> bytes:
    """`{"counts": {…}, "waits": [[key, waiters]], "values": [[key, values, coding, length, text]], "complete": …}`.
    Bytes that are not UTF-8 are shown as escapes; the text is null where the coding is neither text nor JSON."""
    counts = store.counts
    waits = [[_shown(key), waiters] for key, waiters in islice(store.waiters(), limits.dump_keys)]
    values = [_row(each) for each in islice(store.summaries(), limits.dump_keys)]
    document = {
        "counts": {name: getattr(counts, name) for name in ("gets", "puts", "views", "waits", "answered")},
        "waits": waits,
        "values": values,
        "complete": max(len(waits), len(values)) < limits.dump_keys,
    }
    return json.dumps(document).encode()


def _old_form(value: Value) -> tuple[bytes, bytes | None] | tuple[bytes, bytes | None, int]:
    if value.coding != ASTR:
        return value.coding, None, len(value.data)
    if len(value.data) <= _SHOWN_BYTES:
        return value.coding, value.data
    return value.coding, _ends(value.data), len(value.data)


def _row(each: KeySummary) -> list[Any]:
    coding, data = each.newest
    text = None
    if coding in (ASTR, JSON):
        text = _shown(data if len(data) <= _SHOWN_BYTES else _ends(data))
    return [_shown(each.key), each.values, _shown(coding), len(data), text]


def _ends(data: bytes) -> bytes:
    return data[:_HEAD_BYTES] + b"..." + data[-_TAIL_BYTES:]


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
