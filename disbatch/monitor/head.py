"""The head of the monitor: how the run is in four lines, seven where the screen is tall."""

import time
from typing import NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from disbatch.core.printable import printable
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.headline import figures, share, state_of, throughput
from disbatch.monitor.progress import clock
from disbatch.monitor.tables import cut
from disbatch.monitor.words import ago, bars, count, rate

NAME_CHARS = 36  # of the run's name: what is said behind it has to be seen
SILENT_S = 5.0  # without news for so long: say it
LOST_S = 15.0  # what is shown is old, and nothing in it is to look alive
HINT_S = 60.0  # it may not come back by itself
TONES = {"": "", "good": "green", "bad": "bold red", "note": "yellow"}
_NAME, _TOP = "tasks/s ", 16  # before the bars; characters for the highest figure behind them


class Contact(NamedTuple):
    """How it is with the run that is shown."""

    silent_s: float = 0.0  # since the last snapshot
    since_s: float = 0.0  # when that came, since the epoch
    trouble: str = ""
    end_missed: bool = False  # the run is over, and its last figures were not seen

    @property
    def lost(self) -> bool:
        return not self.end_missed and (bool(self.trouble) or self.silent_s > LOST_S)

    @property
    def long_lost(self) -> bool:
        return self.lost and self.silent_s > HINT_S


class Head(Vertical):
    DEFAULT_CSS = """
    Head { height: auto; padding: 0 1; }
    Head Static { height: 1; }
    """

    def compose(self) -> ComposeResult:
        for name in ("title", "bar", "figures", "pace"):
            yield Static(id=name)

    def show(self, s: RunSnapshot, *, tall: bool, hint: str = "", grey: bool = False) -> None:
        """All but the title. `hint` takes the place of the bars; `grey`: these figures are old."""
        line = Text("  ").join([Text(word.text, TONES[word.tone]) for word in figures(s)])
        pace = self._pace(s, 3 if tall else 1)
        for name, text in (("bar", self._bar(s)), ("figures", line), ("pace", pace)):
            self._put(name, Text(text.plain, "dim", no_wrap=True) if grey else text)
        if hint:
            self._put("pace", Text(printable(hint), "bold", no_wrap=True, overflow="ellipsis"))

    def show_title(self, name: str, s: RunSnapshot | None, contact: Contact) -> None:
        """Name and state; how the contact is, where that says more."""
        text = Text(f"{cut(printable(name), NAME_CHARS)}  ", "bold", no_wrap=True, overflow="ellipsis")
        if s is None:
            text.append("connecting …", "yellow")
        elif contact.lost and not s.over:
            # not the state as well: nobody knows it
            since = time.strftime("%H:%M:%S", time.localtime(contact.since_s))
            why = f": {printable(contact.trouble)}" if contact.trouble else ""
            text.append(f"no contact since {since}{why}", "bold red")
        else:
            state = state_of(s)
            text.append(clock(s.elapsed_s) + "  ")
            text.append("the run has ended" if contact.end_missed else state.text, TONES[state.tone])
            if contact.end_missed:
                text.append("  its last figures were not seen", "yellow")
            elif contact.silent_s > SILENT_S and not s.over:
                text.append(f"  no news for {ago(contact.silent_s)}", "yellow")
        self._put("title", text)

    def _bar(self, s: RunSnapshot) -> Text:
        done = share(s)
        text = Text(no_wrap=True)
        if done is None or s.total is None:
            return text.append(
                f"{count(s.finished)} tasks finished; how many there will be is not known", "dim"
            )
        figure = f" {done:4.0%}  {count(s.finished)}/{count(s.total)}"
        width = max(5, self.app.size.width - 2 - len(figure))
        bad = round(width * s.failed / s.total)
        bad = max(bad, 1) if s.failed else 0
        good = max(0, round(width * done) - bad)
        text.append("━" * good, "green").append("━" * bad, "red")
        return text.append("─" * max(0, width - good - bad), "dim").append(figure)

    def _pace(self, s: RunSnapshot, height: int) -> Text:
        """Tasks per second since the start, and the highest figure."""
        rates = throughput(s.history, max(10, self.app.size.width - len(_NAME) - _TOP))
        text = Text(no_wrap=True)
        for number, line in enumerate(bars(rates, height)):
            first = number == 0
            text.append(_NAME if first else "\n" + " " * len(_NAME), "dim").append(line, "green")
            text.append(f"  top {rate(max(rates, default=0.0))}" if first else "", "dim")
        return text

    def _put(self, name: str, text: Text) -> None:
        for line in self.query(f"#{name}").results(Static):  # none: while the screen is taken down
            line.update(text)
