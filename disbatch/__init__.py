"""disBatch: run a long list of shell commands on whatever machines there are.

This file stays nearly empty: every start of the program, of an engine and of a viewer pays for it.
"""

__version__ = "4.0.0"
