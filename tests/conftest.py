"""For all shelves."""

import os
import signal

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Under nohup SIGHUP is ignored, and what tests start would inherit that; a handler of ours is not inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda signum, frame: None)

# How wide a terminal is says the terminal: where these are set, programs do not ask it.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
