"""The monitor on a screen of textual's pilot: what is seen, keys and mouse, resizing, stopping, the end of the run."""

import pytest
from monitor_beds import LARGE, SMALL, Bed, on_screen
from monitor_builders import context, engine, running

from disbatch.monitor.looking import Ended, Trouble

MANY = tuple(engine(n) for n in range(15))  # as many as fill the table of a small screen


@pytest.mark.parametrize("size", [SMALL, LARGE, (60, 15), (40, 10)], ids=str)
def test_the_state_of_the_run_is_on_every_screen(size: tuple[int, int]) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.until("connecting")
        bed.seen()
        await bed.until("Tasks_1", "running", "18 ok", "2 failed", "20%", "tasks/s")
        assert all(len(line) == size[0] for line in bed.text().splitlines())

    on_screen(scenario, size)


def test_80_by_24_shows_one_table_and_its_keys() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=MANY)
        figures = ("8/8 slots busy", "72 waiting", "2.0/s", "0:40 left")
        await bed.until("node01", *figures, "Load", "q Quit", "? Help", without="run 27")
        for key, part in (("2", "run 27"), ("3", "SIGKILL"), ("4", "Limit"), ("1", "Load")):
            await bed.pilot.press(key)
            await bed.until(part)
        await bed.pilot.press("tab")
        await bed.until("run 27")
        await bed.pilot.press("shift+tab", "shift+tab")
        await bed.until("Limit")

    on_screen(scenario)


def test_a_large_screen_shows_all_of_it() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01", "run 27", "SIGKILL", "Limit", "Memory", "8.0/64G", "1.5/16")
        assert bed.line("1 Engines") - bed.line("tasks/s") == 3  # bars of three lines
        lowest = bed.text().splitlines()[bed.line("1 Engines") - 1]
        assert set(lowest.strip()) == {"█"}

    on_screen(scenario, LARGE)


def test_when_nothing_runs_any_more_failures_have_the_room() -> None:
    ended: dict[str, object] = {"over": True, "running": 0, "tasks": ()}

    async def small(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01", "run 27", without="SIGKILL")
        bed.seen(**ended)
        await bed.until("node01", "SIGKILL", without="run 27")

    async def large(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01", "run 27", without="Running: ")
        bed.seen(**ended)
        await bed.until("Running: no task is running")
        assert bed.line("─Failures") - bed.line("─Running") == 3

    on_screen(small)
    on_screen(large, LARGE)


def test_what_a_short_table_leaves_free_is_for_another_one() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01", "run 27", without="SIGKILL")
        assert bed.line("node01") < bed.line("run 27")
        await bed.pilot.press("2")
        await bed.until("run 27", without="Heard")
        await bed.pilot.press("4")
        await bed.until("Limit", "run 27", without="Heard")
        bed.seen(engines=MANY)
        await bed.pilot.press("1")
        await bed.until("node14", without="run 27")

    on_screen(scenario)


def test_a_table_that_was_laid_out_without_room_comes_back() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("Load", "run 27")
        bed.pane("engines").styles.height = 0
        bed.seen(done=19)
        await bed.until("19 ok", "Load", "run 27")

    on_screen(scenario)


def test_the_size_changes() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=MANY)
        await bed.until("node01", without="run 27")
        await bed.pilot.resize_terminal(*LARGE)
        await bed.until("node01", "run 27", "SIGKILL", "Limit", "Memory")
        await bed.pilot.resize_terminal(*SMALL)
        await bed.until("node01", without="run 27")
        await bed.pilot.resize_terminal(30, 8)
        await bed.until("18 ok")

    on_screen(scenario)


def test_on_one_machine_its_tasks_come_first() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=(engine(0),))
        await bed.until("run 27")
        await bed.pilot.press("1")
        await bed.until("Load")
        bed.seen(engines=(engine(0),), done=19)
        await bed.until("19 ok", "Load")

    on_screen(scenario)


def test_figures_move_and_the_cursor_stays_on_its_row() -> None:
    async def scenario(bed: Bed) -> None:
        many = tuple(engine(n) for n in range(60))
        bed.seen(engines=many)
        await bed.until("node00")
        await bed.pilot.press(*["down"] * 30)
        assert bed.pane("engines").current == "30"
        top = bed.pane("engines").scroll_y
        assert top > 0
        bed.seen(engines=tuple(e._replace(finished=777) for e in many))
        await bed.until("777")
        assert (bed.pane("engines").current, bed.pane("engines").scroll_y) == ("30", top)
        bed.seen(engines=(engine(100, "late"), *many[5:]))
        await bed.until("10", without="777")
        assert bed.pane("engines").current == "30"

    on_screen(scenario)


def test_sorting_by_keys_and_by_mouse() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=(engine(0, failed=1), engine(1, failed=9), engine(2, failed=5)))
        await bed.until("node02")
        assert bed.line("node00") < bed.line("node01") < bed.line("node02")
        await bed.click("Failed")
        await bed.until("Failed▼")
        assert bed.line("node01") < bed.line("node02") < bed.line("node00")
        await bed.pilot.press("r")
        await bed.until("Failed▲")
        assert bed.line("node00") < bed.line("node02") < bed.line("node01")
        await bed.pilot.press("s")
        await bed.until("Heard▼")

    on_screen(scenario)


def test_a_filter() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=tuple(engine(n) for n in range(15)))
        await bed.until("node14")
        await bed.pilot.press("slash", *"de1")
        await bed.until("node14", "node10", "Engines 5 of 15", without="node09")
        await bed.pilot.press("enter")
        await bed.until("only rows with: de1", without="words that rows have to have")
        await bed.pilot.press("escape")
        await bed.until("node09", "Engines 15")

    on_screen(scenario)


def test_an_engine_is_opened_and_kept_up_to_date() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("down", "enter")
        await bed.until(
            "Engine 1 on node01", "run 21", "10 ended, 1 of these failed", "8.0/64G", without="run 20"
        )
        bed.seen(engines=(engine(0), engine(1, finished=11)))
        await bed.until("11 ended, 1 of these failed")
        await bed.pilot.press("escape")
        await bed.until("18 ok", without="Engine 1 on")
        await bed.click("node00", times=2)
        await bed.until("Engine 0 on node00", "run 20")
        await bed.click("close")
        await bed.until("18 ok", without="Engine 0 on")

    on_screen(scenario)


def test_a_failed_task_and_one_that_has_ended_meanwhile_are_opened() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("3", "enter")
        await bed.until("Failed task 19", "no such file", "1.5s")
        await bed.pilot.press("escape", "2", "enter")
        await bed.until("Task 20", "run 20", "0:08")
        bed.seen(tasks=(running(99),))
        await bed.until("Task 20 (has ended)", "run 20")

    on_screen(scenario)


def test_tables_are_chosen_with_the_mouse() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.click("3 Failures")
        await bed.until("SIGKILL")
        await bed.click("2 Running")
        await bed.until("run 27")

    on_screen(scenario)


def test_help_and_quit() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("question_mark")
        await bed.until("stop the engine or context", "leave the monitor")
        await bed.pilot.press("escape")
        await bed.until("node01", without="leave the monitor")
        await bed.pilot.press("q")

    assert on_screen(scenario) is None


def test_stopping_an_engine_asks_first() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("down", "x")
        await bed.until("Stop engine 1 on node01?", "4 running tasks finish", "Cancel")
        await bed.pilot.press("enter")  # the button that has the focus says no
        await bed.until("node01", without="Stop engine")
        assert bed.stopped == []
        await bed.pilot.press("x")
        await bed.until("Stop engine 1")
        await bed.pilot.press("escape")
        await bed.until("node01", without="Stop engine")
        assert bed.stopped == []
        await bed.pilot.press("x")
        await bed.until("Stop engine 1")
        await bed.pilot.press("y")
        await bed.until("it stops")
        assert [(stop.kind, stop.name) for stop in bed.stopped] == [("engine", "1")]

    on_screen(scenario)


def test_stopping_a_context_with_the_mouse() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(contexts=(context("SSH0"), context("LATE")))
        await bed.until("node01")
        await bed.pilot.press("4", "down")
        await bed.click("x Stop")
        await bed.until("Stop context LATE with 2 engines?")
        await bed.click("Stop (y)")
        await bed.until("it stops")
        assert [(stop.kind, stop.name) for stop in bed.stopped] == [("context", "LATE")]

    on_screen(scenario)


def test_a_stop_that_is_refused_says_why() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("x", "y")
        await bed.until("no such engine")

    on_screen(scenario, refuses="no such engine")


def test_what_cannot_be_stopped() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("3", "x")
        await bed.until("Choose an engine")
        bed.seen(over=True, state="all tasks have been done")
        await bed.until("ended: 20 tasks: 18 ok, 2 failed")
        await bed.pilot.press("1", "x")
        await bed.until("The run is over")
        assert bed.stopped == []

    on_screen(scenario)


def test_the_final_figures_stay_when_the_run_has_ended() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        bed.seen(over=True, state="all tasks have been done", done=98, running=0, tasks=())
        bed.news.put_nowait(None)
        await bed.until("ended: 100 tasks: 98 ok, 2 failed", "98 ok", "100%", "1:05 in all")
        await bed.pilot.press("3")
        await bed.until("SIGKILL")

    on_screen(scenario)


def test_an_end_that_was_not_seen_is_said() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        bed.news.put_nowait(Ended("the run is over"))
        await bed.until("the run has ended", "last figures were not seen", "18 ok")

    on_screen(scenario)


def test_a_lost_connection_is_shown_until_it_is_back() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        bed.news.put_nowait(Trouble("the connection to the run is gone", 1.0))
        await bed.until("no contact since", "trying again", "18 ok")
        bed.seen(done=19)
        await bed.until("19 ok", without="no contact")

    on_screen(scenario, LARGE)


def test_without_anything_to_show_the_monitor_ends_with_the_reason() -> None:
    async def scenario(bed: Bed) -> None:
        bed.news.put_nowait(Trouble("the run does not answer: nobody there", 1.0))
        for _ in range(500):
            if bed.app.return_value:
                return
            await bed.pilot.pause(0.01)

    assert on_screen(scenario) == "the run does not answer: nobody there"


def test_empty_tables_say_what_is_missing() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=(), tasks=(), failures=(), contexts=(), slots=0, total=None, history=())
        await bed.until("no engine has been started yet", "waiting for engines", "is not known")
        await bed.pilot.press("3", "x", "enter", "s", "r")
        await bed.until("no task has failed")

    on_screen(scenario)


def test_keys_that_follow_each_other_at_once() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        for key in ("3", "enter"):
            bed.app.simulate_key(key)
        await bed.until("Failed task 19")

    on_screen(scenario)


def test_the_size_changes_while_something_is_open() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        await bed.pilot.press("enter")
        await bed.until("Engine 0")
        await bed.pilot.resize_terminal(*LARGE)
        bed.seen(done=19)
        await bed.pilot.press("escape")
        await bed.until("19 ok", "run 27", "SIGKILL")

    on_screen(scenario, SMALL)


def test_light_and_dark() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("node01")
        before = bed.app.theme
        await bed.pilot.press("d")
        assert bed.app.theme != before

    on_screen(scenario)


def test_thousands_of_engines_are_drawn_in_time() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=tuple(engine(n) for n in range(5000)))
        await bed.until("the first 1,000 of 5,000", "Engines 5,000")
        bed.seen(engines=tuple(engine(n, finished=3) for n in range(5000)), done=19)
        await bed.until("19 ok")

    on_screen(scenario)
