"""How many GPUs a job has on each of its nodes, read from what `scontrol show job --details` prints.

srun has to be told: an engine's step gets none of them, or is refused, when it asks for no number or for one too large.
The lines look like `Nodes=node[1-2] CPU_IDs=0-1 Mem=0 GRES=gpu:tesla:2(IDX:0-1),shard:4`; nodes with the same lot are put together.
"""

import re
from collections.abc import Sequence

_LINE = re.compile(r"^\s*Nodes=(\S+).*?\sGRES=(\S*)", re.MULTILINE)
_GPU = re.compile(r"(?:^|,)gpu(?::[^:,()]+)??:(\d+)(?=[(,]|$)")
_ITEM = re.compile(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)*")  # a comma within brackets ends no item
_BRACKETS = re.compile(r"\[([^\]]*)\]")


def gpus_by_node(details: str, nodes: Sequence[str]) -> dict[str, int]:
    """The number of GPUs of each of `nodes`; 0 for one that the text does not give any."""
    found = dict.fromkeys(nodes, 0)
    for names, gres in _LINE.findall(details):
        # devices are listed behind their count in brackets, with commas: (IDX:0,2-3)
        count = sum(int(number) for number in _GPU.findall(re.sub(r"\(IDX:[^)]*\)", "", gres)))
        for name in nodes:
            if count and any(_is_one_of(name, item) for item in _ITEM.findall(names)):
                found[name] += count
    return found


def _is_one_of(name: str, item: str) -> bool:
    """Whether `item`, such as `gpu[01-04,7]`, stands for this name among others."""
    parts = _BRACKETS.split(item)  # text, ranges, text, ranges, text
    pattern = "".join(re.escape(part) if i % 2 == 0 else r"(\d+)" for i, part in enumerate(parts))
    match = re.fullmatch(pattern, name)
    return match is not None and all(
        _within(number, ranges) for number, ranges in zip(match.groups(), parts[1::2], strict=True)
    )


def _within(number: str, ranges: str) -> bool:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        # 08-11: as many digits as the first has
        if (
            first.isdigit()
            and int(first) <= int(number) <= int(last or first)
            and len(number) == max(len(first), len(str(int(number))))
        ):
            return True
    return False
