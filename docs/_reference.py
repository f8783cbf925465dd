"""A hook of mkdocs: the page of all options, made from the parsers whenever the site is built."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    from disbatch.help.__main__ import reference_page

    files.append(File.generated(config, "reference.md", content=reference_page()))
    return files
