"""Each call of a run fails once: a sample of them, and those that have been found to break a run."""

from pathlib import Path

import pytest

from tests.inject.bed import Bed
from tests.inject.calls import Case, sample, unknown
from tests.inject.checking import broken, why_not
from tests.inject.gate import TARGETS

SIZE = 200
PARTS = 8


REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

# Each of them left a run hanging, or ended it without a word, when it was found.
FOUND = [
    Case("driver", "clone3", "EAGAIN", 1),
    Case("driver", "clone", "EAGAIN", 1),
    Case("driver", "clone", "ENOMEM", 2),
    Case("driver", "epoll_create1", "ENFILE", 2),
    Case("driver", "epoll_ctl", "ENOSPC", 2),
    Case("driver", "epoll_ctl", "ENOMEM", 6),
    Case("driver", "fcntl", "EAGAIN", 2),
    Case("driver", "pidfd_open", "EMFILE", 1),
    Case("driver", "pipe2", "EMFILE", 1),
    Case("driver", "pipe2", "EMFILE", 2),
    Case("driver", "sendto", "ECONNRESET", 1),
    Case("driver", "wait4", "ECHILD", 2),
    Case("driver", "write", "EPIPE", 4),
    Case("certificate", "write", "ENOSPC", 1),
    Case("engine", "epoll_ctl", "ENOSPC", 1),
    Case("engine", "epoll_ctl", "ENOSPC", 8),
    Case("engine", "epoll_ctl", "ENOSPC", 9),
    Case("engine", "mprotect", "ENOMEM", 1),
    Case("engine", "poll", "ENOMEM", 1),
    Case("engine", "read", "EIO", 21),
    Case("engine", "setsockopt", "ENOPROTOOPT", 4),
    Case("engine", "wait4", "ECHILD", 1),
    Case("guard", "pidfd_open", "ENODEV", 1),
    Case("guard", "poll", "ENOMEM", 2),
]


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """How often each process makes each call."""
    folder = tmp_path_factory.mktemp("count")
    return {target: Bed(folder / target).count(target) for target in TARGETS}


def test_the_table_knows_every_call_that_is_made(counts: dict[str, dict[str, int]]) -> None:
    assert unknown(counts) == set()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_sample(part: int, counts: dict[str, dict[str, int]], tmp_path: Path) -> None:
    assert not broken(sample(counts, SIZE)[part::PARTS], tmp_path, Bed)


@pytest.mark.parametrize("part", range(2))
def test_what_was_found(part: int, tmp_path: Path) -> None:
    assert not broken(FOUND[part::2], tmp_path, Bed)
