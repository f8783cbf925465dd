"""What opens on top of the monitor: help, details of a row, a question before something is stopped."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from disbatch.core.printable import printable

HELP = """\
Everything here is looked at, nothing is changed, but for x.

  1 2 3 4       engines, running tasks, failures, contexts
  tab           the next table; shift-tab: the one before
  ↑ ↓ PgUp …    move; Home and End: first and last row
  enter         details of the row (or click on it twice)
  s             sort by the next column; r: the other way
                (or click on a column's title)
  /             show rows with these words only; esc: all
  x             stop the engine or context of this row
                softly: what runs there finishes
  d             dark or light
  q             leave the monitor; the run goes on

Heard is how long ago an engine sent its last message. It
reports when tasks end, and now and then in between. Load
is of the last minute, against the node's processors; memory
is what cannot be freed, of all.
"""


class Box(ModalScreen[bool]):
    """A box in the middle, as high as it needs. Any of the usual keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "close", "Close"),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"), VerticalScroll(classes="box-scroll"):
            yield Static("", classes="box-text")

    def on_mount(self) -> None:
        self.show()

    def title_and_text(self) -> tuple[str, Text]:
        raise NotImplementedError

    def show(self) -> None:
        """Draws its content, as it is now."""
        title, text = self.title_and_text()
        box = self.query_one(".box", Vertical)
        # as Text: a string would be read as markup
        box.border_title, box.border_subtitle = Text(printable(title)), "[@click=screen.close]esc: close[/]"
        self.query_one(".box-text", Static).update(text)

    def action_close(self) -> None:
        self.dismiss(False)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class Help(Box):
    def title_and_text(self) -> tuple[str, Text]:
        return "Help", Text(HELP)


class Details(Box):
    """What `describe` says of a row: pairs of a name and a value, or a heading with an empty value. Kept up to date."""

    def __init__(self, describe: Callable[[], tuple[str, Sequence[tuple[str, str]]]]) -> None:
        super().__init__()
        self._describe = describe

    def title_and_text(self) -> tuple[str, Text]:
        title, pairs = self._describe()
        width = max((len(name) for name, value in pairs if value), default=0)
        text = Text()
        for name, value in pairs:
            if value:
                text.append(f"{name.rjust(width)}  ", "dim").append(value + "\n")
            else:
                text.append(f"\n{name}\n" if text else f"{name}\n", "bold")
        text.rstrip()
        return title, text


class Question(ModalScreen[bool]):
    """Asks before something is done. Escape and the button that has the focus at first say no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,q", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
        Binding("left,right", "other", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box question"):
            yield Static(Text(printable(self._text)), classes="box-text")
            with Horizontal(classes="buttons"):
                yield Button("Stop (y)", id="yes", variant="error")
                yield Button("Cancel (n)", id="no", variant="default")

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        self.focus_next()
