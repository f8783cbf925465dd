"""How the counts of a run went over time: samples at a steady pace, and the rate of the last seconds. Memory is bounded."""

from collections import deque

from disbatch.core.snapshot import Sample

MAX_SAMPLES = 120  # about what a chart can show; a run that has more gets every second one thrown away
RATE_WINDOW_S = 20.0  # the rate, and with it the time left, is that of the last seconds, not of the whole run
_SLACK_S = 0.5  # timers are late by a little: what comes so much before its time comes at it


class History:
    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._pace_s = 0.0  # between two samples; 0 before the first thinning, when every one is kept
        self._recent: deque[Sample] = deque()

    def note(self, sample: Sample) -> None:
        """Takes a sample in; it is kept when its time has come. To be called at a steady pace, once a second or so."""
        self._recent.append(sample)
        while len(self._recent) > 2 and self._recent[1].elapsed_s < sample.elapsed_s - RATE_WINDOW_S:
            self._recent.popleft()
        kept = self._samples
        if self._pace_s and sample.elapsed_s < kept[-1].elapsed_s + self._pace_s - _SLACK_S:
            return
        kept.append(sample)
        if len(kept) > MAX_SAMPLES:
            del kept[1::2]
            self._pace_s = (kept[-1].elapsed_s - kept[0].elapsed_s) / (len(kept) - 1)

    def rate(self, elapsed_s: float, ended: int) -> float:
        """Tasks per second over the last seconds, up to this moment; 0 before there is anything to tell."""
        for first in self._recent:
            if elapsed_s > first.elapsed_s:
                return max(0, ended - first.ended) / (elapsed_s - first.elapsed_s)
            break
        return ended / elapsed_s if elapsed_s > 0 else 0.0

    def samples(self) -> tuple[Sample, ...]:
        """All that is kept, and the newest one."""
        newest = list(self._recent)[-1:]
        return tuple(self._samples if self._samples[-1:] == newest else self._samples + newest)
