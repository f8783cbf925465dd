"""The Slurm context: slots from the job's variables, the environment of srun and of tasks."""

from fractions import Fraction

import pytest

from disbatch.contexts import slurm
from disbatch.contexts.base import Wishes
from disbatch.contexts.slurmstep import not_the_first
from disbatch.core.binding import NO_BINDING
from disbatch.core.errors import UsageError
from disbatch.core.model import NodeSpec


@pytest.mark.parametrize(
    ("text", "values"), [("4", [4]), ("4(x2),3", [4, 4, 3]), ("1,2(x1)", [1, 2]), ("16(x3)", [16] * 3)]
)
def test_lists_of_counts(text: str, values: list[int]) -> None:
    assert slurm.counts(text, "V") == values


@pytest.mark.parametrize("text", ["", "x", "4(x", "4,,3", "-1", "4(2)"])
def test_a_list_that_is_none_names_the_variable(text: str) -> None:
    with pytest.raises(UsageError, match="SLURM_JOB_CPUS_PER_NODE"):
        slurm.counts(text, "SLURM_JOB_CPUS_PER_NODE")


@pytest.mark.parametrize(
    ("tasks", "cpus", "per_task", "c", "t", "fill", "slots"),
    [
        # tasks and CPUs per node, Slurm's -c, disBatch's -c, -t, --fill -> slots of each node
        ("5(x4)", "5(x4)", "", None, None, False, [5, 5, 5, 5]),
        ("3,2", "4,2", "", None, None, False, [3, 2]),
        ("3,2", "4,2", "", None, None, True, [4, 2]),
        ("2(x2)", "8(x2)", "4", None, None, False, [2, 2]),
        ("2(x2)", "8(x2)", "4", "2", None, False, [4, 4]),
        ("2(x2)", "8(x2)", "4", "0.5", None, False, [16, 16]),
        ("5(x2)", "5(x2)", "", None, 2, False, [2, 2]),
        ("1", "16", "", None, None, False, [1]),
        ("1", "16", "", None, None, True, [16]),
        ("1", "4(x2)", "", None, None, False, [1, 1]),
    ],
)
def test_slots(
    tasks: str,
    cpus: str,
    per_task: str,
    c: str | None,
    t: int | None,
    fill: bool,
    slots: list[int],
) -> None:
    environ = {
        "SLURM_TASKS_PER_NODE": tasks,
        "SLURM_JOB_CPUS_PER_NODE": cpus,
        "SLURM_CPUS_PER_TASK": per_task,
    }
    names = [f"n{number}" for number in range(len(slots))]
    environ |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n"}
    wishes = Wishes(cores_per_task=Fraction(c) if c else None, tasks_per_node=t, fill=fill)
    found = slurm.Slurm().allocate(environ, wishes, {"nodes 0": " ".join(names)})
    assert [node.slots for node in found.nodes] == slots


@pytest.mark.parametrize(
    ("tasks", "cpus", "per_task", "c", "t", "expected"),
    [
        ("1", "40", "40", None, 10, [(10, 4)]),  # sbatch -c 40 … disBatch -t 10
        ("1", "40", "40", None, 1, [(1, 40)]),
        ("1", "40", "", None, 10, [(10, 4)]),  # sbatch --exclusive
        ("10(x2)", "10(x2)", "", None, 3, [(3, 3), (3, 3)]),
        ("4,2", "4,2", "", None, 3, [(3, 1), (2, 1)]),  # no more than there are cores
        ("10", "10", "", "4", 3, [(2, 4)]),
        ("10", "10", "", "2", 3, [(3, 2)]),
        ("1", "40", "40", "4", None, [(10, 4)]),
    ],
)
def test_the_command_line_wins(
    tasks: str, cpus: str, per_task: str, c: str | None, t: int | None, expected: list[tuple[int, int]]
) -> None:
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n", "SLURM_NTASKS": "1"}
    environ |= {
        "SLURM_TASKS_PER_NODE": tasks,
        "SLURM_JOB_CPUS_PER_NODE": cpus,
        "SLURM_CPUS_PER_TASK": per_task,
    }
    wishes = Wishes(cores_per_task=Fraction(c) if c else None, tasks_per_node=t)
    names = " ".join(f"n{number}" for number in range(len(expected)))
    found = slurm.Slurm().allocate(environ, wishes, {"nodes 0": names})
    assert [(node.slots, node.cores_per_task) for node in found.nodes] == expected
    fewer = t is not None and any(slots < t for slots, _ in expected)
    assert any(f"-t {t} is more than " in text for text in found.warnings) == fewer


def test_where_both_say_how_many_cores_ours_holds_and_both_are_shown() -> None:
    environ = {"SLURM_JOB_CPUS_PER_NODE": "8", "SLURM_CPUS_PER_TASK": "4"}
    _, cores, warnings = slurm.shares(environ, ["n0"], Fraction(2), fill=False)
    assert cores == 2 and len(warnings) == 1 and "-c 2" in warnings[0] and "4 CPUs" in warnings[0]


def test_lists_of_different_lengths_are_an_error() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        slurm.shares({"SLURM_JOB_CPUS_PER_NODE": "4,4"}, ["n0", "n1", "n2"], None, fill=False)


def test_srun_sees_the_job_and_no_option_in_disguise() -> None:
    environ = {
        "PATH": "/bin",
        "SLURM_JOB_ID": "7",
        "SLURM_CONF": "c",
        "SLURM_CPU_BIND": "x",
        "SRUN_DEBUG": "3",
    }
    environ |= {"SBATCH_GRES": "gpu:1", "SALLOC_X": "1", "SLURM_GPUS": "2"}
    seen = slurm.launch_environ(environ, {"SLURM_CPU_BIND": "none"})
    assert seen == {"PATH": "/bin", "SLURM_JOB_ID": "7", "SLURM_CONF": "c", "SLURM_CPU_BIND": "none"}


def test_tasks_get_the_variables_of_the_job_and_none_of_the_step() -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEPID": "0",
        "SLURM_NNODES": "2",
        "HOME": "h",
    }
    assert slurm.job_environ(environ) == {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2"}
    assert all("SLURM_PROCID".startswith(drop) is (drop == "SLURM_PROCID") for drop in slurm.Slurm.task_drops)


def test_a_task_looks_like_a_job_of_one_process() -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "20",
        "SLURM_NTASKS_PER_NODE": "5",
        "SLURM_NODELIST": "n[1-4]",
    }
    environ |= {
        "SLURM_JOB_NUM_NODES": "4",
        "SLURM_DISTRIBUTION": "cyclic",
        "SLURM_CPUS_ON_NODE": "40",
        "SLURM_HINT": "x",
    }
    node = NodeSpec("n2", 5, 40, 8)
    seen = slurm.Slurm().task_environ(environ, node)
    ones = {name: "1" for name in seen if seen[name] == "1"}
    assert set(ones) == {
        f"SLURM_{n}" for n in ("NTASKS", "NPROCS", "NNODES", "JOB_NUM_NODES", "TASKS_PER_NODE")
    }
    assert {name for name in seen if seen[name] == "0"} == {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"}
    assert seen["SLURM_CPUS_PER_TASK"] == seen["SLURM_CPUS_ON_NODE"] == seen["SLURM_JOB_CPUS_PER_NODE"] == "8"
    assert seen["SLURM_JOB_NODELIST"] == seen["SLURM_NODELIST"] == "n2" and seen["SLURM_JOB_ID"] == "7"
    assert not {"SLURM_NTASKS_PER_NODE", "SLURM_DISTRIBUTION", "SLURM_HINT"} & set(seen)


STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_JOB_CPUS_PER_NODE": "4(x2)",
}
STEP |= {"SLURM_TASKS_PER_NODE": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}


@pytest.mark.parametrize(
    ("said", "slots"),
    [
        ("   NumNodes=2 NumCPUs=8 NumTasks=4 CPUs/Task=2 ReqB:S:C:T=0:0:*:*", [(2, 2), (2, 2)]),
        ("NumTasks=5 CPUs/Task=1", [(4, 1), (1, 1)]),
        ("NumTasks=4 CPUs/Task=1\n   Socks/Node=* NtasksPerN:B:S:C=2:0:*:* CoreSpec=*", [(2, 1), (2, 1)]),
        ("", [(1, 1), (1, 1)]),  # it does not answer: what the step says
    ],
)
def test_in_a_step_the_numbers_are_those_of_the_job(said: str, slots: list[tuple[int, int]]) -> None:
    scheduler = slurm.Slurm()
    assert scheduler.questions(STEP, Wishes())["job"] == ("scontrol", "show", "job", "7")
    found = scheduler.allocate(STEP, Wishes(), {"nodes 0": "n1 n2", "job": said})
    assert [(node.slots, node.cores_per_task) for node in found.nodes] == slots


def test_of_several_processes_of_a_step_one_works() -> None:
    several = STEP | {"SLURM_STEP_NUM_TASKS": "4"}
    assert [bool(not_the_first(several | {"SLURM_PROCID": str(n)})) for n in range(4)] == [
        False,
        True,
        True,
        True,
    ]
    assert "process 3 of 4" in not_the_first(several | {"SLURM_PROCID": "3"})
    assert not not_the_first({"SLURM_PROCID": "1"})  # no step


def test_the_options_file() -> None:
    assert slurm.options_file("# mine\n\nSLURM_MPI_TYPE=none\n A=b=c \n", "f") == {
        "SLURM_MPI_TYPE": "none",
        "A": "b=c",
    }
    with pytest.raises(UsageError, match="f, line 2"):
        slurm.options_file("A=1\nB\n", "f")


HET = {
    "SLURM_JOB_ID": "8",
    "SLURM_HET_SIZE": "2",
    "SLURM_JOB_NODELIST": "a1",  # in a batch script: the first component's
    "SLURM_TASKS_PER_NODE": "1",
    "SLURM_JOB_CPUS_PER_NODE": "2",
    "SLURM_JOB_NODELIST_HET_GROUP_0": "a1",
    "SLURM_TASKS_PER_NODE_HET_GROUP_0": "1",
    "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_0": "2",
    "SLURM_CPUS_PER_TASK_HET_GROUP_0": "2",
    "SLURM_JOB_NODELIST_HET_GROUP_1": "b[1-2]",
    "SLURM_TASKS_PER_NODE_HET_GROUP_1": "2,1",
    "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_1": "4,4",
}
HET_NAMES = {"nodes 0": "a1\n", "nodes 1": "b1\nb2\n"}


def test_a_heterogeneous_job_has_the_nodes_of_all_its_components() -> None:
    scheduler = slurm.Slurm()
    assert [argv[-1] for argv in scheduler.questions(HET, Wishes()).values()] == ["a1", "b[1-2]"]
    found = scheduler.allocate(HET, Wishes(), HET_NAMES)
    rows = [(node.name, node.slots, node.cores_per_task, node.part) for node in found.nodes]
    assert rows == [("a1", 1, 2, 0), ("b1", 2, 1, 1), ("b2", 1, 1, 1)]
    assert "--het-group=1" in scheduler.launch_argv(found.nodes[2], "/f", ("engine",))
    assert scheduler.retire_command(HET) == ""


def test_a_component_without_a_slot_is_named_and_the_others_do() -> None:
    found = slurm.Slurm().allocate(HET, Wishes(cores_per_task=Fraction(2)), HET_NAMES)
    assert [(node.name, node.slots) for node in found.nodes] == [("a1", 1), ("b1", 1)]
    assert any("b2: 1 core / 2 per task = 0 slots" in text for text in found.warnings)


def test_a_whole_component_may_be_without_a_slot() -> None:
    found = slurm.Slurm().allocate(HET, Wishes(cores_per_task=Fraction(3), fill=True), HET_NAMES)
    assert [node.name for node in found.nodes] == ["b1", "b2"]
    assert any(text.startswith("component 0") and "a1: 2 cores" in text for text in found.warnings)


def test_without_any_slot_all_components_are_named() -> None:
    with pytest.raises(UsageError, match=r"component 0 .*a1: 2 cores .*component 1 .*b1: 2 cores"):
        slurm.Slurm().allocate(HET, Wishes(cores_per_task=Fraction(9)), HET_NAMES)


def test_other_jobs_have_one_component_and_no_group() -> None:
    environ = {"SLURM_JOB_ID": "8", "SLURM_JOB_NODELIST": "n1", "SLURM_JOB_CPUS_PER_NODE": "4"}
    found = slurm.Slurm().allocate(environ, Wishes(), {"nodes 0": "n1\n"})
    argv = slurm.Slurm().launch_argv(found.nodes[0], "/f", ("engine",))
    assert not [word for word in argv if "het" in word] and argv[-3:] == ("-w", "n1", "engine")


def test_what_gives_nodes_back_names_one_job_of_an_array_alone() -> None:
    scheduler = slurm.Slurm()
    assert '"$SLURM_JOBID"' in scheduler.retire_command({"SLURM_JOB_ID": "6"})
    array = {"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "2"}
    assert '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' in scheduler.retire_command(array)


def test_names_of_nodes_are_what_scontrol_printed_else_python_hostlists() -> None:
    assert slurm.names_in("n[1-2]", "n1\nn2\n") == ["n1", "n2"]
    pytest.importorskip("hostlist")
    assert slurm.names_in("n[08-10],gpu1", None) == ["n08", "n09", "n10", "gpu1"]


@pytest.mark.parametrize(
    ("more", "c", "t", "told"),
    [
        ({}, "2", None, []),  # Slurm was not told how many tasks there are
        ({"SLURM_NTASKS": "4"}, "2", None, ["-c 2 of disBatch and 1 CPU per task of Slurm differ: 2 holds"]),
        ({"SLURM_NTASKS": "4"}, "0.5", None, ["-c 0.5 of disBatch and 1 CPU per task of Slurm differ: 0.5 holds"]),
        ({"SLURM_NTASKS": "4"}, "1", None, []),
        ({"SLURM_NTASKS_PER_NODE": "4"}, None, 2, ["-t 2 of disBatch and --ntasks-per-node=4 of Slurm differ: 2 holds"]),
        ({"SLURM_NTASKS_PER_NODE": "4"}, None, 4, []),
        ({}, None, 2, []),
        ({"SLURM_NTASKS_PER_NODE": "4"}, None, 9, ["n1: -t 9 is more than 4 cores / 1 per task allow: 4 tasks at a time"]),
    ],
)  # fmt: skip
def test_where_options_differ_both_are_shown_and_which_holds(
    more: dict[str, str], c: str | None, t: int | None, told: list[str]
) -> None:
    environ = {
        "SLURM_JOB_ID": "8",
        "SLURM_JOB_NODELIST": "n1",
        "SLURM_TASKS_PER_NODE": "4",
        "SLURM_JOB_CPUS_PER_NODE": "4",
    } | more
    wishes = Wishes(cores_per_task=Fraction(c) if c else None, tasks_per_node=t)
    assert list(slurm.Slurm().allocate(environ, wishes, {"nodes 0": "n1\n"}).warnings) == told


def test_the_words_of_srun_each_of_which_was_measured() -> None:
    """A test bed does not miss all of them: no Slurm there divides memory or binds to CPUs."""
    node = NodeSpec("n1", 4, 4, 1, NO_BINDING, gpus=2)
    assert slurm.launch_argv(node, ("engine", "order")) == (
        "srun", "--quiet", "--export=ALL", "--overlap", "--mem=0", "--cpu-bind=none", "-N1", "-n1",
        "--gpus=2", "-w", "n1", "engine", "order",
    )  # fmt: skip
    assert not [word for word in slurm.launch_argv(node._replace(gpus=0), ()) if "gpus" in word]
