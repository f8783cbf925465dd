"""`python -m disbatch.report`: the same as the command `disbatch-report`."""

from disbatch.programs import report

if __name__ == "__main__":
    report()
