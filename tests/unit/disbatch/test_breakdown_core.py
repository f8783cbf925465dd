"""What the driver core does when something that nobody expects has failed."""

from disbatch_builders import Driver, task

from disbatch.core.driver_events import Broken, Ending, Over


def over(d: Driver) -> Ending | None:
    return next((effect.ending for effect in d.effects if isinstance(effect, Over)), None)


def test_a_broken_run_stops_what_runs_and_says_so_once() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1))
    d.happens(Broken("No space left on device (in watch of kvsstcp.channel, line 75)"))
    assert d.stops() == ["kill"] and "No space left on device" in d.texts("error")
    d.up(demand=0, bye="over")
    assert over(d) is Ending.BROKEN and Ending.BROKEN.exit_code == 3
    assert d.core.left


def test_a_broken_run_that_does_not_end_is_ended_harder() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.happens(Broken("this"))
    d.happens(Broken("this"))
    assert d.stops()[-1] == "abort" and d.texts("error").count("this") == 1
