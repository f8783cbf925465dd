"""The monitor on a terminal: a head with the state of the run, tables below it. What it shows is made in pure modules."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

from rich.markup import escape
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from disbatch.core.errors import DisBatchError
from disbatch.core.plural import counted
from disbatch.core.printable import printable
from disbatch.core.snapshot import ContextView, EngineView, RunSnapshot
from disbatch.monitor import describe
from disbatch.monitor.head import Contact, Head
from disbatch.monitor.looking import Ended, News, Seen, Trouble
from disbatch.monitor.panes import Pane
from disbatch.monitor.screens import Details, Help, Question
from disbatch.monitor.stopping import Stop, Stopper
from disbatch.monitor.tables import CONTEXTS, ENGINES, FAILURES, TABLES, TASKS, Table, cut, matches
from disbatch.monitor.words import count

SAID_CHARS = 400  # of an answer: some lines of a toast
NAME_CHARS = 64
TALL = 34  # lines from which on all tables are shown at once
BESIDE = 6  # lines that a second table has to have to be worth it

STYLE = """
.-tall #pace { height: 3; }
.-old Pane { text-opacity: 50%; }
#tabs { height: 1; padding: 0 1; background: $boost; }
#note { display: none; height: 1; padding: 0 2; color: $text-muted; }
#note.-shown { display: block; }
#panes { height: 1fr; }
Pane { height: 1fr; }
Pane.-below { border-top: solid $panel; border-title-color: $text-muted; }
.-tall Pane { border-top: solid $panel; border-title-color: $text-muted; }
.-tall Pane:focus { border-top: solid $accent; border-title-color: $text; }
.-tall #engines { height: auto; max-height: 35%; } .-tall #contexts { height: auto; max-height: 20%; }
.-tall #tasks { height: 3fr; } .-tall #failures { height: 2fr; }
.-tall #tasks.-bare, .-tall #failures.-bare { height: 3; }
#filter { display: none; height: 1; border: none; padding: 0 1; }
#filter.-shown { display: block; }
Box, Question { align: center middle; }
.box { width: 90%; max-width: 100; height: auto; max-height: 90%; border: round $accent; background: $surface; padding: 0 1; }
.box-scroll { height: auto; max-height: 100%; }
.box-text { height: auto; }
.question { width: 60; padding: 1 2; border: round $error; }
.buttons { height: 3; margin-top: 1; align-horizontal: center; }
.buttons Button { margin: 0 2; }
"""


class Monitor(App[str]):
    """Shows what `news` brings until the user leaves. Ends with the reason when there was never anything to show."""

    CSS = STYLE
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(str(n), f"pane('{t.name}')", t.title, show=False) for n, t in enumerate(TABLES, 1)],
        Binding("tab", "step(1)", "Next table", show=True, priority=True),
        Binding("shift+tab", "step(-1)", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("x", "stop", "Stop"),
        Binding("d", "dark", "Dark", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q,ctrl+c", "quit", "Quit", key_display="q"),
        Binding("escape", "clear_filter", show=False),
    ]

    def __init__(
        self,
        title: str,
        news: Callable[[], AsyncIterator[News]],
        stopper: Stopper | None = None,
        hint: str = "",
    ) -> None:
        super().__init__()
        self.title = title
        self._hint = hint  # where to look when the run has been out of reach for long
        self._news = news
        self._stopper = stopper
        self.snapshot: RunSnapshot | None = None
        self.ended = False  # the run is over, and its last figures were not seen
        self._trouble = ""
        self._seen_at = time.monotonic()
        self._seen_s = time.time()
        self._contact = Contact()
        self._looks = (False, False)  # whether the head is drawn as of a run that is lost, and lost for long
        self._chosen: Table = ENGINES
        self._first = True

    def compose(self) -> ComposeResult:
        yield Head()
        yield Static(id="tabs")
        yield Static(id="note")
        with Vertical(id="panes"):
            for table in TABLES:
                yield Pane(table)
        yield Input(placeholder="words that rows have to have; enter: done, esc: all rows", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        self.action_pane(ENGINES.name)
        self.set_interval(1.0, self._draw_title)
        self._watch()

    @work(exclusive=True)
    async def _watch(self) -> None:
        async for news in self._news():
            self._take(news)

    def _take(self, news: News) -> None:
        if isinstance(news, Seen):
            self.snapshot, self._trouble = news.snapshot, ""
            self._seen_at, self._seen_s = time.monotonic(), time.time()
            self.draw()
        elif self.snapshot is None:
            self.exit(news.text)  # there is nothing to look at; the shell says why
        elif isinstance(news, Trouble):
            self._trouble = f"{news.text}; trying again"
        elif isinstance(news, Ended):
            self.ended, self._trouble = True, ""
        self._draw_title()

    # -- drawing

    def draw(self) -> None:
        """Everything, from the last snapshot."""
        s = self.snapshot
        if s is None:
            return
        if self._first:
            self._first = False
            if len(s.engines) == 1:  # on one machine, tasks are what there is to see
                self.action_pane(TASKS.name)
        self._draw_title()
        self._draw_head(s)
        for pane in self.main.query(Pane):
            pane.show(s)
        self._show_panes()
        self._draw_tabs()
        if isinstance(self.screen, Details):
            self.screen.show()

    def _draw_head(self, s: RunSnapshot) -> None:
        old = self._contact.lost and not s.over
        self.main.set_class(old, "-old")
        hint = self._hint if old and self._contact.long_lost else ""
        for head in self.main.query(Head):  # none: while the screen is taken down
            head.show(s, tall=self.main.has_class("-tall"), hint=hint, grey=old)

    def _draw_title(self) -> None:
        self._contact = Contact(
            time.monotonic() - self._seen_at, self._seen_s, self._trouble, end_missed=self.ended
        )
        for head in self.main.query(Head):
            head.show_title(self.title, self.snapshot, self._contact)
        looks = (self._contact.lost, self._contact.long_lost)
        if self._looks != looks and self.snapshot is not None:
            self._looks = looks
            self._draw_head(self.snapshot)

    def _draw_tabs(self) -> None:
        text = Text(no_wrap=True)
        for number, table in enumerate(TABLES, 1):
            label = f" {number} {table.title} {self._count_of(table)} "
            text.append(label, "reverse" if table is self._chosen else "")
            text.apply_meta({"@click": f"app.pane('{table.name}')"}, len(text) - len(label), len(text))
            text.append(" ")
        self.main.query_one("#tabs", Static).update(text)
        note = self.main.query_one("#note", Static)
        said = self._pane(self._chosen).note
        note.update(Text(said, no_wrap=True, overflow="ellipsis"))
        note.set_class(bool(said), "-shown")

    def _count_of(self, table: Table) -> str:
        """How many rows there are; of failures and running tasks, how many in all."""
        s = self.snapshot
        if s is None:
            return ""
        words = self._pane(table).choice.words
        of = {TASKS.name: s.running, FAILURES.name: s.failed}.get(table.name, len(table.rows(s)))
        matching = sum(matches(table, row, words) for row in table.rows(s)) if words else of
        return count(of) if matching == of else f"{count(matching)} of {count(of)}"

    def on_resize(self, event: Resize) -> None:
        self.main.set_class(event.size.height >= TALL, "-tall")
        self._show_panes()
        self.call_after_refresh(self.draw)

    # -- what people do

    def _pane(self, table: Table) -> Pane:
        return self.main.query_one(f"#{table.name}", Pane)

    def action_pane(self, name: str) -> None:
        self._chosen = next(table for table in TABLES if table.name == name)
        self._show_panes()
        # at once, and not with the next turn: the next key may be here already
        self.main.set_focus(self._pane(self._chosen))
        self._draw_tabs()

    @property
    def main(self) -> Screen[Any]:
        """The screen below all that may have been opened."""
        return self.screen_stack[0]

    def _show_panes(self) -> None:
        """On a tall screen all tables. Else the chosen one, and what it leaves free is for the one that says most."""
        tall = self.main.has_class("-tall")
        beside = self._beside()
        for pane in self.main.query(Pane):
            pane.display = tall or pane.table in (self._chosen, beside)
            pane.set_class(not tall and pane.table is beside, "-below")
            above = not tall and pane.table is self._chosen and beside is not None
            # not "auto": such a table was seen to stay without a line when it came while everything was being laid out
            height = len(pane.arranged.rows) + 1  # with its titles
            pane.styles.height = height if above else None
            if above and pane.size.height != height:
                pane.refresh(layout=True)

    def _beside(self) -> Table | None:
        """The table below the chosen one on a screen that is not tall, where there is room for some of its rows."""
        rows = len(self._pane(self._chosen).arranged.rows)
        free = self.main.query_one("#panes").size.height - rows - 2
        if free < BESIDE:
            return None
        idle = self._pane(FAILURES).arranged.rows and not self._pane(TASKS).arranged.rows
        return FAILURES if self._chosen is TASKS or (idle and self._chosen is not FAILURES) else TASKS

    def action_step(self, by: int) -> None:
        if len(self.screen_stack) > 1:
            self.screen.focus_next()
            return
        self.action_pane(TABLES[(TABLES.index(self._chosen) + by) % len(TABLES)].name)

    def on_descendant_focus(self) -> None:
        focused = self.focused
        if isinstance(focused, Pane) and focused.table is not self._chosen:
            self.action_pane(focused.table.name)

    def action_sort(self) -> None:
        self._pane(self._chosen).sort_next()

    def action_reverse(self) -> None:
        self._pane(self._chosen).reverse()

    def action_dark(self) -> None:
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"

    def action_help(self) -> None:
        self.push_screen(Help())

    # -- filter

    def action_filter(self) -> None:
        box = self.main.query_one("#filter", Input)
        box.value = self._pane(self._chosen).choice.words
        box.add_class("-shown")
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.has_class("-shown"):
            self._pane(self._chosen).filter(event.value)
            self._draw_tabs()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._close_filter()

    def action_clear_filter(self) -> None:
        self._pane(self._chosen).filter("")
        self._close_filter()

    def _close_filter(self) -> None:
        self.main.query_one("#filter", Input).remove_class("-shown")
        self._pane(self._chosen).focus()
        self._draw_tabs()

    # -- details

    def on_pane_opened(self, event: Pane.Opened) -> None:
        table, key = event.pane.table, event.row_key
        row = self._row(table, key)
        if row is None:
            return
        last: list[Any] = [row]

        def describe_now() -> tuple[str, Sequence[tuple[str, str]]]:
            found = self._row(table, key)
            gone = found is None
            if found is not None:
                last[0] = found
            assert self.snapshot is not None
            return _details(table, last[0], self.snapshot, gone=gone)

        self.push_screen(Details(describe_now))

    def _row(self, table: Table, key: str) -> Any:
        if self.snapshot is None:
            return None
        return next((row for row in table.rows(self.snapshot) if table.row_key(row) == key), None)

    # -- stopping

    def action_stop(self) -> None:
        pane = self._pane(self._chosen)
        row = self._row(self._chosen, pane.current) if pane.current is not None else None
        stop = _stop_of(row)
        if self.snapshot is None or self.snapshot.over or self.ended:
            self.notify("The run is over.", severity="warning")
        elif stop is None:
            self.notify("Choose an engine or a context first (1 or 4).", severity="warning")
        elif self._stopper is None:
            self.notify("This run cannot be told to stop a part of it.", severity="warning")
        else:
            self._ask(stop, self._stopper)

    @work
    async def _ask(self, stop: Stop, stopper: Stopper) -> None:
        if not await self.push_screen_wait(Question(stop.question)):
            return
        try:
            self.notify(_said(await stopper.stop(stop)))
        except DisBatchError as error:
            self.notify(_said(str(error)), severity="error")


def _said(text: str) -> str:
    """What the run says, for a toast, which reads markup."""
    return escape(cut(printable(text), SAID_CHARS))


def _named(name: str) -> str:
    """A name of others in a question: its buttons stay on the screen."""
    return cut(printable(name), NAME_CHARS)


def _stop_of(row: Any) -> Stop | None:
    if isinstance(row, EngineView):
        return Stop("engine", str(row.rank), f"engine {row.rank} on {_named(row.node)}", row.busy)
    if isinstance(row, ContextView):
        engines = counted(row.engines, "engine")
        return Stop("context", row.label, f"context {_named(row.label)} with {engines}", row.busy)
    return None


def _details(
    table: Table, row: Any, snapshot: RunSnapshot, *, gone: bool
) -> tuple[str, Sequence[tuple[str, str]]]:
    if table is ENGINES:
        return f"Engine {row.rank} on {row.node}", describe.engine(row, snapshot)
    if table is CONTEXTS:
        return f"Context {row.label}", describe.context(row, snapshot)
    if table is TASKS:
        return f"Task {row.task_id}{' (has ended)' if gone else ''}", describe.task(row)
    assert table is FAILURES
    return f"Failed task {row.task_id}", describe.failure(row)
