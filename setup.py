# What pyproject.toml cannot say: manual pages and shell completions are made from the parsers, whenever a package is built.
import sys
from collections import defaultdict
from pathlib import Path

from setuptools import setup

root = Path(__file__).resolve().parent
sys.path.insert(0, str(root))
from disbatch.help.__main__ import write  # noqa: E402

MADE = Path("build/help")
data_files = defaultdict(list)
for path in write(root / MADE):
    data_files[str(Path(path).parent)].append(str(MADE / path))
setup(data_files=sorted(data_files.items()))
