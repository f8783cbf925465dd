"""Counts in sentences: `1 slot`, `2 slots`. Every count of something that a user reads is made here."""


def counted(number: int, what: str, plural: str = "") -> str:
    """Return `1 task` or `2 tasks`; `plural` where an s behind `what` would be wrong."""
    return f"{number} {noun(number, what, plural)}"


def noun(number: float, what: str, plural: str = "") -> str:
    """Return the word alone, for a number that is written in another way."""
    return what if number == 1 else plural or what + "s"
