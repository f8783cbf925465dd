"""Hooks of mkdocs: the page of all options, made from the parsers, and code blocks without the marks of the tests."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    from disbatch.help.__main__ import reference_page

    files.append(File.generated(config, "reference.md", content=reference_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Only the language stays behind the fence, what prepares a test is left out, and raw images are found from the page,
    which is served one folder further down."""
    without = re.sub(r"^<!-- sh \w+.*?^-->\n", "", markdown, flags=re.MULTILINE | re.DOTALL)
    shown = re.sub(r"^```(\w+) [^`\n]*$", r"```\1", without, flags=re.MULTILINE)
    shown = shown.replace('<img src="images/', '<img src="../images/')
    return re.sub(r"^```tasks$", "```bash", shown, flags=re.MULTILINE)
