"""The logs of driver and engines: for people, one line an event, never anything secret."""

import logging


def open_log(path: str, level: str, name: str) -> logging.Logger:
    """A logger that appends to `path`. Raises OSError when the file cannot be opened."""
    logging.raiseExceptions = (
        False  # a log on a full disk is no reason for a traceback on the user's terminal
    )
    handler = logging.FileHandler(path, encoding="utf-8", errors="surrogateescape")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return logger
