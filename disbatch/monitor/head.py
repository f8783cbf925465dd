"""The head of the monitor: how the run is in four lines, seven where the screen is tall."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from disbatch.core.printable import printable
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.headline import figures, share, state_of, throughput
from disbatch.monitor.progress import clock
from disbatch.monitor.words import ago, bars, count, rate

SILENT_S = 5.0  # without news for so long: say it
TONES = {"": "", "good": "green", "bad": "bold red", "note": "yellow"}
_NAME, _TOP = "tasks/s ", 16  # before the bars; characters for the highest figure behind them


class Head(Vertical):
    DEFAULT_CSS = """
    Head { height: auto; padding: 0 1; }
    Head Static { height: 1; }
    """

    def compose(self) -> ComposeResult:
        for name in ("title", "bar", "figures", "pace"):
            yield Static(id=name)

    def show(self, s: RunSnapshot, *, tall: bool) -> None:
        """All but the title."""
        self._put("bar", self._bar(s))
        line = Text("  ").join([Text(word.text, TONES[word.tone]) for word in figures(s)])
        self._put("figures", line)
        self._put("pace", self._pace(s, 3 if tall else 1))

    def show_title(
        self, name: str, s: RunSnapshot | None, silent_s: float, trouble: str, *, end_missed: bool
    ) -> None:
        """`silent_s`: since the last snapshot. `end_missed`: the run is over, and its last figures were not seen."""
        text = Text(f"{printable(name)}  ", "bold", no_wrap=True, overflow="ellipsis")
        if s is None:
            text.append("connecting …", "yellow")
        else:
            state = state_of(s)
            text.append(clock(s.elapsed_s) + "  ")
            text.append("the run has ended" if end_missed else state.text, TONES[state.tone])
            if trouble:
                text.append(f"  no news for {ago(silent_s)}: {printable(trouble)}", "bold red")
            elif end_missed:
                text.append("  its last figures were not seen", "yellow")
            elif silent_s > SILENT_S and not s.over:
                text.append(f"  no news for {ago(silent_s)}", "yellow")
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
