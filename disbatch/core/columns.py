"""Status lines by the block: one expression splits them all, which takes a third of the time that line by line does.

Only for blocks of nothing but tasks' own lines, in the form they are written in; others are for `parse_record`.
"""

import re
from itertools import accumulate

from disbatch.core.model import LOST
from disbatch.core.resume import Fate, Rows, row_fate, weight

# Possessive throughout: no part can end elsewhere than it does, so none is tried twice. Numbers of 18 digits fit in 63 bits.
# That fields may hold line feeds here is quicker, and is seen: there are then fewer rows than lines, as with odd ones.
_NUMBER = rb"[0-9]{1,18}+"
_SECONDS = rb"[0-9]++\.[0-9]++"
_OUTPUT = _NUMBER + rb"\t['\"][^\t]*+"  # how much, and a snippet
_FIELDS = (
    rb"[ROES ]*+",
    rb"(%s)" % _NUMBER,  # task id
    rb"(%s\t-?%s)" % (_NUMBER, _NUMBER),  # line number and repeat index, as they stand there
    rb"[^\t]*+\t-?" + _NUMBER,
    rb"(-?%s)" % _NUMBER,  # exit code
    *[_SECONDS] * 3,
    rb"(?:0\t''\t0\t''|%s\t%s)" % (_OUTPUT, _OUTPUT),
    rb"(.*+)\n",
)
_LINE = re.compile(b"^" + rb"\t".join(_FIELDS), re.MULTILINE)
_STEP = 5  # what is between two lines, and four groups of each


def rows_of(block: bytes, file_no: int, offset: int, lost: Fate = Fate.LOST) -> Rows | None:
    """What complete lines say that stand at this place; None where one is odd, so that each has to be looked at.

    `lost` is what a lost task counts as.
    """
    if b"\r" in block:  # of a line end, it is not the command's
        return None
    found = _LINE.split(block)
    codes = found[3::_STEP]
    lines = block.splitlines(keepends=True)
    if len(lines) != len(codes):
        return None
    weights = [*accumulate(map(len, lines), initial=weight(Fate.DONE, file_no, offset))]
    weights.pop()
    if codes.count(b"0") < len(codes):
        _weigh_failures(weights, codes, lines, lost)
    digests = [*map(hash, zip(found[2::_STEP], found[4::_STEP], strict=True))]
    return Rows([*map(int, found[1::_STEP])], weights, digests)


def _weigh_failures(weights: list[int], codes: list[bytes], lines: list[bytes], lost: Fate) -> None:
    """Makes the weights of tasks that failed or were lost, as of DONE so far, what they should be."""
    done, failed = weight(Fate.DONE, 0, 0), weight(Fate.FAILED, 0, 0)
    excess = {code: done - failed if int(code) else 0 for code in set(codes)}
    numbers = [number for number, code in enumerate(codes) if code != b"0"]
    for number in numbers:
        weights[number] -= excess[codes[number]]
    if any(int(code) == LOST for code in excess):
        for number in numbers:
            code, pid = int(codes[number]), int(lines[number].split(b"\t", 6)[5])
            if row_fate(b"", pid, code) is Fate.LOST:
                weights[number] += weight(lost, 0, 0) - failed
