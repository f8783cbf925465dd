"""Which nodes are due to be given back, and what the command is told: tables, nothing is run."""

import pytest

from disbatch.contexts.retirement import NodePool, driver_node

NODES = ["n1", "n2", "n3", "n4"]


def told(pool: NodePool) -> dict[str, str]:
    """What the next call is told beside the driver's own environment."""
    call = pool.due()
    assert call is not None
    return {name: value for name, value in call.environ.items() if name != "HOME"}


def test_nodes_that_end_together_are_one_call_and_none_is_given_back_twice() -> None:
    pool = NodePool(NODES, "n1", {"HOME": "h"})
    assert pool.due() is None
    pool.ended("n3", 0)
    pool.ended("n2", 7)
    assert told(pool) == {
        "NODE": "n3,n2",
        "NODES": "n3,n2",
        "ACTIVE": "n1,n4",
        "RETIRED": "n3,n2",
        "RETCODES": "0,7",
    }
    call = pool.due()
    assert call is not None and call.environ["HOME"] == "h"
    pool.given_back(call.nodes)
    assert pool.due() is None


def test_what_failed_is_due_again_together_with_what_ended_since() -> None:
    pool = NodePool(NODES, "n1", {})
    pool.ended("n2", 0)
    assert told(pool)["NODES"] == "n2"
    pool.ended("n4", 0)
    assert told(pool)["NODES"] == "n2,n4"
    pool.given_back(["n2"])
    assert told(pool) == {
        "NODE": "n4",
        "NODES": "n4",
        "ACTIVE": "n1,n3",
        "RETIRED": "n2,n4",
        "RETCODES": "0",
    }


def test_the_drivers_own_node_stays_and_is_named_where_it_is_not_active() -> None:
    pool = NodePool(NODES, "n1", {})
    pool.ended("n1", 0)
    assert pool.due() is None
    pool.ended("n2", 3)
    seen = told(pool)
    assert (seen["DRIVER_NODE"], seen["NODES"], seen["ACTIVE"]) == ("n1", "n2", "n3,n4")
    assert (seen["RETIRED"], seen["RETCODES"]) == ("n1,n2", "3")


def test_a_driver_on_a_node_without_an_engine_keeps_it() -> None:
    pool = NodePool(["n2"], "n1", {})
    pool.ended("n2", 0)
    seen = told(pool)
    assert (seen["DRIVER_NODE"], seen["ACTIVE"]) == ("n1", "")


def test_the_last_node_is_not_given_back_from_outside_as_the_job_ends_with_it() -> None:
    pool = NodePool(["n1", "n2"], None, {})
    pool.ended("n1", 0)
    assert told(pool)["ACTIVE"] == "n2" and "DRIVER_NODE" not in told(pool)
    pool.ended("n2", 0)
    assert pool.due() is None


def test_a_node_of_two_engines_is_free_when_both_have_ended() -> None:
    pool = NodePool(["n1", "n2", "n2"], "n1", {})
    pool.ended("n2", 5)
    assert pool.due() is None
    pool.ended("n2", 0)
    assert (told(pool)["NODES"], told(pool)["RETCODES"]) == ("n2", "5")


def test_what_is_no_node_of_the_context_is_ignored() -> None:
    pool = NodePool(NODES, "n1", {})
    pool.ended("elsewhere", 0)
    assert pool.due() is None


def test_names_in_the_drivers_own_environment_do_not_reach_the_command() -> None:
    pool = NodePool(NODES, "n1", {"DRIVER_NODE": "old", "ACTIVE": "old", "SLURM_JOB_ID": "7"})
    pool.ended("n2", 0)
    seen = told(pool)
    assert "DRIVER_NODE" not in seen and seen["ACTIVE"] == "n1,n3,n4"
    assert seen["SLURM_JOBID"] == "7"  # what the default command speaks of


@pytest.mark.parametrize(
    ("environ", "hostname", "found"),
    [
        ({"SLURMD_NODENAME": "n2"}, "vm", "n2"),
        ({"SLURMD_NODENAME": "n9"}, "n1", "n9"),  # a node without a slot
        ({}, "n3.example.org", "n3"),
        ({}, "login", None),
    ],
)
def test_where_the_driver_is(environ: dict[str, str], hostname: str, found: str | None) -> None:
    assert driver_node(environ, hostname, NODES) == found
