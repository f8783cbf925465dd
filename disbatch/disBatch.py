"""`from disbatch import disBatch; disBatch.DisBatcher(…)`: where programs written for disBatch 3 find the class."""

from disbatch import DisBatcher

__all__ = ["DisBatcher"]
