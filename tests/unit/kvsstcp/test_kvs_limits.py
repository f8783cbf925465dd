"""How many connections a server may have where descriptors are few."""

from kvsstcp.limits import DEFAULT_LIMITS, limits_for


def test_many_descriptors_change_nothing() -> None:
    assert limits_for(1 << 20, 1_000) == DEFAULT_LIMITS


def test_strangers_get_half_of_what_is_left_and_engines_nearly_all() -> None:
    limits = limits_for(256, 56)
    assert (limits.unproven, limits.connections, limits.together) == (100, 188, 200)
    assert limits._replace(unproven=2_048, connections=20_000, together=22_048) == DEFAULT_LIMITS


def test_what_is_reserved_is_kept() -> None:
    for descriptors in range(60, 25_000, 7):
        limits = limits_for(descriptors, 50)
        assert limits.together + 50 <= descriptors
        assert limits.connections < limits.together > limits.unproven


def test_a_few_are_served_in_any_case() -> None:
    limits = limits_for(30, 50)
    assert limits.unproven > 0 < limits.connections < limits.together
