"""GPUs among slots: none shared, none left over, and how many Slurm says there are on each node."""

import pytest
from disbatch_builders import Driver
from hypothesis import given
from hypothesis import strategies as st

from disbatch.contexts.base import Wishes
from disbatch.contexts.slurm import Slurm
from disbatch.contexts.slurmgpus import gpus_by_node
from disbatch.contexts.ssh import Ssh
from disbatch.core.driver_events import EngineLaunched
from disbatch.core.gpus import VARIABLES, devices_in, divide
from disbatch.core.messages import Means

# `scontrol show job --details` of Slurm 22.05, `sbatch -N2 -n3 --gres=gpu:2`; what does not matter here is left out
DETAILS = """\
JobId=1 JobName=sbatch
   JobState=RUNNING Reason=None Dependency=(null)
   NodeList=node[1-2]
   NumNodes=2 NumCPUs=3 NumTasks=3 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   JOB_GRES=gpu:4
     Nodes=node1 CPU_IDs=0-1 Mem=0 GRES=gpu:2(IDX:0-1)
     Nodes=node2 CPU_IDs=0 Mem=0 GRES=gpu:2(IDX:0-1)
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
   TresPerNode=gres:gpu:2

"""


@given(st.integers(1, 20), st.integers(0, 20), st.sets(st.sampled_from(VARIABLES), min_size=1), st.booleans())
def test_every_gpu_goes_to_one_slot(slots: int, gpus: int, variables: set[str], names: bool) -> None:
    devices = [f"GPU-{i:x}" if names else str(i) for i in range(gpus)]
    plan = divide(dict.fromkeys(variables, ",".join(devices)), slots)
    assert plan.gpus == gpus and len(plan.slots) == min(slots, gpus)
    for name in variables:
        shares = [share[name].split(",") for share in plan.slots]
        assert [device for share in shares for device in share] == devices
        assert not shares or max(map(len, shares)) - min(map(len, shares)) <= 1


def test_variables_that_name_different_numbers_of_gpus() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0,1,2", "ROCR_VISIBLE_DEVICES": "4,5", "ZE_AFFINITY_MASK": ""}
    assert divide(environ, 3) == (
        2,
        (
            {"CUDA_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "4"},
            {"CUDA_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "5"},
        ),
    )


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        ("0,1", ["0", "1"]),
        (" 3 , GPU-8932f937-d72c ", ["3", "GPU-8932f937-d72c"]),
        ("0.0,0.1", ["0.0", "0.1"]),
        ("0,-1,2", ["0"]),  # what stands behind an invalid one does not count
        ("NoDevFiles", []),
        ("", []),
        ("1,1,2", ["1", "2"]),
    ],
)
def test_devices_in_a_variable(value: str, devices: list[str]) -> None:
    assert devices_in(value) == devices


def test_gpus_of_the_nodes_of_a_job() -> None:
    assert gpus_by_node(DETAILS, ["node1", "node2", "node3"]) == {"node1": 2, "node2": 2, "node3": 0}


@pytest.mark.parametrize(
    ("nodes", "gres", "counts"),
    [
        ("a[01-03,7]", "gpu:4(IDX:0-3)", {"a01": 4, "a03": 4, "a7": 4, "a1": 0, "a04": 0, "b01": 0}),
        ("r[1-2]n[8-10],z", "gpu:tesla:1(IDX:3)", {"r1n10": 1, "r2n8": 1, "r3n8": 0, "z": 1, "r1n7": 0}),
        ("n", "gpu:tesla:2(IDX:0,2),gpu:k80:1(IDX:1)", {"n": 3}),
        ("n", "shard:gpu:9(IDX:0),gpu:1(IDX:0)", {"n": 1}),
        ("n", "gpu:8(S:0-1)", {"n": 8}),
        ("n", "", {"n": 0}),
    ],
)
def test_forms_of_gres(nodes: str, gres: str, counts: dict[str, int]) -> None:
    text = f"JobId=1\n     Nodes={nodes} CPU_IDs=0-1 Mem=0 GRES={gres}\n"
    assert gpus_by_node(text, list(counts)) == counts


def slurm_environ(nodes: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
        "SLURM_TASKS_PER_NODE": f"2(x{nodes})",
        "SLURM_JOB_CPUS_PER_NODE": f"2(x{nodes})",
    }


def test_slurm_is_asked_only_for_a_run_with_gpus() -> None:
    assert "details" not in Slurm().questions(slurm_environ(2), Wishes())
    asked = Slurm().questions(slurm_environ(2), Wishes(gpus=True))
    assert asked["details"] == ("scontrol", "show", "job", "--details", "7")


def test_each_engine_asks_srun_for_the_gpus_of_its_node() -> None:
    names = "node1\nnode2\nnode3\n"
    wishes = Wishes(gpus=True)
    found = Slurm().allocate(slurm_environ(3), wishes, {"nodes 0": names, "details": DETAILS})
    assert [(node.name, node.gpus) for node in found.nodes] == [("node1", 2), ("node2", 2)]
    assert "no GPU on node3" in found.warnings[-1]
    assert "--gpus=2" in Slurm().launch_argv(found.nodes[0], "/", ["engine"])
    # a cluster that does not count its GPUs: engines find out
    bare = Slurm().allocate(slurm_environ(3), wishes, {"nodes 0": names, "details": None})
    assert [node.gpus for node in bare.nodes] == [0, 0, 0]
    assert not any(word.startswith("--gpus") for word in Slurm().launch_argv(bare.nodes[0], "/", ["engine"]))


def test_without_g_nothing_is_divided() -> None:
    assert [node.gpus for node in Ssh().allocate({}, Wishes(("a:2",)), {}).nodes] == [None]
    assert [node.gpus for node in Ssh().allocate({}, Wishes(("a:2",), gpus=True), {}).nodes] == [0]


def test_fewer_gpus_than_slots_is_told_once_with_the_node() -> None:
    driver = Driver()
    driver.happens(EngineLaunched(0, "node0", 4, "SSH0"))
    driver.hello(0, 3, demand=0, means=Means(gpus=3))
    driver.hello(0, 3, demand=0, means=Means(gpus=3))
    assert driver.texts("warning").count("node0 has 3 GPUs for 4 slots") == 1
    assert driver.core.fleet.slots == 3
