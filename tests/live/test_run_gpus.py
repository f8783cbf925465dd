"""`-g` on this machine: the devices that the environment names, divided among the slots. No GPU is needed for that."""

from collections import defaultdict
from itertools import pairwise

import pytest
from disbatch_runs import Bench

CUDA, ROCR = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
SHOW = f'echo "${{{CUDA}-unset}} ${{{ROCR}-unset}}" >> gpus.$DISBATCH_CYLINDER_RANK; sleep 0.05\n'


def seen(bench: Bench) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for path in bench.path.glob("gpus.*"):
        found[int(path.name.split(".")[1])] |= set(path.read_text().splitlines())
    return found


def test_gpus_are_divided_and_none_is_shared(bench: Bench) -> None:
    tasks = "#DISBATCH PERENGINE START " + SHOW + SHOW * 6
    result = bench.here(2, "-g", tasks=tasks, env={CUDA: "0,1,GPU-7", ROCR: "4,5,6"})
    assert result.code == 0 and "GPU" not in result.err
    assert seen(bench) == {-1: {"0,1,GPU-7 4,5,6"}, 0: {"0,1 4,5"}, 1: {"GPU-7 6"}}


def test_slots_without_a_gpu_do_not_run(bench: Bench) -> None:
    result = bench.here(3, "-g", tasks=SHOW * 6, env={CUDA: "5"})
    assert result.code == 0
    assert seen(bench) == {0: {"5 unset"}}
    assert "1 GPU for 3 slots" in result.err and bench.rows()[0].node in result.err
    rows = sorted(bench.rows(), key=lambda row: row.start_s)
    assert all(a.finish_s <= b.start_s + 0.002 for a, b in pairwise(rows))


@pytest.mark.parametrize("value", ["", "NoDevFiles", "-1"])
def test_no_gpu_at_all_is_an_error_that_names_the_node(bench: Bench, value: str) -> None:
    result = bench.here(2, "-g", tasks="touch never", env={CUDA: value})
    assert result.code == 3 and "has no GPU" in result.err and CUDA in result.err
    assert all(line.startswith("disBatch: error: ") for line in result.err.splitlines())
    assert not (bench.path / "never").exists()
    assert result.resume


def test_without_g_tasks_see_what_there_is(bench: Bench) -> None:
    assert bench.here(2, tasks=SHOW * 2, env={CUDA: "0,1"}).code == 0
    assert {text for texts in seen(bench).values() for text in texts} == {"0,1 unset"}
