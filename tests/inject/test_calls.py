"""Which calls are chosen. No strace here."""

import errno

from tests.inject.calls import ERRORS, EXCLUDED, Case, all_cases, occurrences, parse_counts, sample, unknown

COUNTS = {"driver": {"openat": 400, "pipe2": 2, "close": 9, "brk": 3}, "guard": {"poll": 3}}


def test_every_error_is_one_of_this_system() -> None:
    assert not [name for names in ERRORS.values() for name in names if not hasattr(errno, name)]
    assert not ERRORS.keys() & EXCLUDED.keys()


def test_all_cases_hold_each_error_of_each_call_and_nothing_that_is_left_out() -> None:
    cases = all_cases(COUNTS)
    assert {case.call for case in cases} == {"openat", "pipe2", "poll"}
    assert [case for case in cases if case.call == "pipe2"] == [
        Case("driver", "pipe2", error, k) for k in (1, 2) for error in ("EMFILE", "ENFILE")
    ]
    assert len(cases) == len(set(cases))


def test_of_a_frequent_call_the_first_the_last_and_some_between() -> None:
    found = occurrences(1000)
    assert found[0] == 1 and found[-1] == 1000
    assert found == sorted(set(found)) and len(found) == 60
    assert occurrences(60) == list(range(1, 61))
    assert occurrences(61)[-1] == 61


def test_the_sample_is_the_same_each_time_and_leaves_out_no_call() -> None:
    found = sample(COUNTS, 30)
    assert found == sample(COUNTS, 30) and len(found) == len(set(found)) == 30
    assert {(case.target, case.call) for case in found} == {
        ("driver", "openat"),
        ("driver", "pipe2"),
        ("guard", "poll"),
    }
    assert all(1 <= case.k <= COUNTS[case.target][case.call] for case in found)


def test_counts_are_read_from_what_strace_writes() -> None:
    lines = [
        "read(3, 0x1, 5) = 1",
        "--- SIGCHLD ---",
        "read(3) = 0",
        "+++ exited with 0 +++",
        "pipe2([3, 4]) = 0",
    ]
    assert parse_counts(lines) == {"read": 2, "pipe2": 1}


def test_a_call_that_the_table_does_not_know_is_told() -> None:
    assert unknown(COUNTS) == set()
    assert unknown({"driver": {"io_uring_setup": 1}}) == {"io_uring_setup"}
