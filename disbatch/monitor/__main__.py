"""`python -m disbatch.monitor RUN [--once] [--json]`: the same as `disbatch-ctl RUN --mon`."""

from disbatch.programs import monitor

if __name__ == "__main__":
    monitor()
