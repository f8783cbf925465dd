"""How a run can end: programs that are told of it find every word in the docs."""

from pathlib import Path

import pytest

from disbatch.core.driver_events import Ending

PAGE = Path(__file__).parents[3] / "docs" / "mail.md"


@pytest.mark.parametrize("ending", Ending)
def test_the_docs_have_every_ending(ending: Ending) -> None:
    assert f"`{ending.name}`" in PAGE.read_text(encoding="utf-8")
