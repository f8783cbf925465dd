"""One table on the screen: keeps its rows up to date without losing the place of whoever reads."""

from collections.abc import Sequence

from rich.text import Text
from textual.message import Message
from textual.widgets import DataTable

from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.tables import (
    Arranged,
    Column,
    Table,
    arrange,
    cut,
    first_choice,
    sort_by,
    sort_by_next,
    widths,
)
from disbatch.monitor.words import count

_TONES = {"lost": "red", "running": "green", "starting": "yellow", "stopping": "yellow", "stopped": "dim"}
_UP, _DOWN = "▲", "▼"


class Pane(DataTable[Text]):
    """Posts `Opened` with the key of a row when its details are asked for."""

    class Opened(Message):
        def __init__(self, pane: "Pane", row_key: str) -> None:
            super().__init__()
            self.pane = pane
            self.row_key = row_key

    def __init__(self, table: Table) -> None:
        super().__init__(id=table.name, cursor_type="row", zebra_stripes=True, cell_padding=1)
        self.table = table
        self.border_title = table.title
        self.choice = first_choice(table)
        self.arranged = Arranged((), [], 0, 0)
        self._snapshot: RunSnapshot | None = None
        self._drawn: tuple[object, ...] = ()  # columns, widths and marks as they are on the screen
        self._cells: list[list[str]] = []

    @property
    def current(self) -> str | None:
        """The key of the row at the cursor."""
        keys = self.arranged.keys
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else None

    @property
    def note(self) -> str:
        """What has to be said of the rows, beside them."""
        made = self.arranged
        if self._snapshot is None:
            return ""
        if not made.of:
            return self.table.empty
        if self.choice.words:
            return f"only rows with: {self.choice.words}   (esc: all)"
        if len(made.rows) < made.matching:
            return f"the first {count(len(made.rows))} of {count(made.matching)}; / finds the others"
        return self.table.bound if made.of >= self.table.most > 0 else ""

    def show(self, snapshot: RunSnapshot) -> None:
        self._snapshot = snapshot
        self.redraw()

    def redraw(self) -> None:
        """Draws what is known, as it is to be seen now. Only what has changed is touched."""
        # one that is hidden is drawn all the same: keys work on it as soon as it is chosen
        width = self.scrollable_content_region.width or self.app.size.width
        if self._snapshot is None:
            return
        current, old_keys = self.current, self.arranged.keys
        self.arranged = made = arrange(self.table, self._snapshot, self.choice, width)
        sizes = widths(made.columns, width)
        looks = (tuple(c.title for c in made.columns), tuple(sizes), self.choice.order, self.choice.falls)
        cells = [[c.cell(row) for c in made.columns] for row in made.rows]
        if looks != self._drawn or made.keys != old_keys:
            self._draw_all(made, sizes, cells, looks, current)
        else:
            self._draw_changes(made, sizes, cells)
        self._cells = cells
        self.border_title = self.table.title if made.of else f"{self.table.title}: {self.table.empty}"
        self.set_class(not made.of, "-bare")

    def _draw_all(
        self,
        made: Arranged,
        sizes: list[int],
        cells: list[list[str]],
        looks: tuple[object, ...],
        current: str | None,
    ) -> None:
        top, row_before = self.scroll_y, self.cursor_row
        if looks == self._drawn:
            self.clear()
        else:
            self.clear(columns=True)
            for column, size in zip(made.columns, sizes, strict=True):
                self.add_column(self._title(column, size), width=size, key=column.title)
        self._drawn = looks
        for key, row in zip(made.keys, cells, strict=True):
            self.add_row(*_texts(row, made.columns, sizes), key=key)
        if made.keys:
            at = made.keys.index(current) if current in made.keys else min(row_before, len(made.keys) - 1)
            # the cursor stays on its row; who has not moved it stays at the top
            self.move_cursor(row=at if row_before > 0 else 0, animate=False, scroll=False)
            self.scroll_to(y=top, animate=False)

    def _draw_changes(self, made: Arranged, sizes: list[int], cells: list[list[str]]) -> None:
        for key, row, before in zip(made.keys, cells, self._cells, strict=True):
            if row != before:
                for column, text in zip(made.columns, _texts(row, made.columns, sizes), strict=True):
                    self.update_cell(key, column.title, text)

    def _title(self, column: Column, size: int) -> Text:
        mark = (_DOWN if self.choice.falls else _UP) if self.choice.order == column.title else ""
        title = cut(column.title, size - len(mark)) + mark
        return Text(title.rjust(size) if column.right else title, "bold")

    # -- what people do

    def sort_next(self) -> None:
        sort_by_next(self.table, self.arranged.columns, self.choice)
        self.redraw()

    def reverse(self) -> None:
        self.choice.falls = not self.choice.falls
        self.redraw()

    def filter(self, words: str) -> None:
        self.choice.words = words
        self.redraw()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        sort_by(self.table, self.choice, str(event.column_key.value))
        self.redraw()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.post_message(self.Opened(self, event.row_key.value))

    def on_resize(self) -> None:
        self.redraw()


def _texts(cells: list[str], columns: Sequence[Column], sizes: list[int]) -> list[Text]:
    return [
        Text(
            cut(text, size),
            _TONES.get(text, "") if column.title == "State" else "",
            justify="right" if column.right else "left",
            no_wrap=True,
        )
        for text, column, size in zip(cells, columns, sizes, strict=True)
    ]
