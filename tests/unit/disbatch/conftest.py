"""Lets the tests of this folder import `disbatch_builders`, their one helper module."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
