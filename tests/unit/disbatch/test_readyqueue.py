"""Tasks that wait, against a sorted list: whatever comes back, is taken, or is removed from the middle."""

from disbatch_builders import task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.ledger import Entry
from disbatch.core.readyqueue import ReadyQueue


@given(st.lists(st.sampled_from(["fresh", "take", "back", "remove"]), max_size=80), st.randoms())
def test_it_is_a_sorted_list(steps: list[str], random) -> None:
    queue, model, out, next_id = ReadyQueue(), [], [], 0
    for step in steps:
        if step == "fresh":
            entry = Entry(task(next_id))
            next_id += 1
            queue.append(entry)
            model.append(entry)
        elif step == "take" and model:
            assert queue.first() is model[0]
            out.append(queue.popleft())
            assert out[-1] is model.pop(0)
        elif step == "remove" and model:
            out.append(model.pop(random.randrange(len(model))))
            queue.remove(out[-1])
        elif step == "back" and out:
            entry = out.pop(random.randrange(len(out)))
            queue.put_back(entry)
            model.append(entry)
            model.sort(key=lambda e: e.task.task_id)
        assert len(queue) == len(model) and bool(queue) == bool(model)
    assert list(queue) == model
