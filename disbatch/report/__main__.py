"""`python -m disbatch.report`: the same as the command `disbatch-report`."""

from disbatch.report.program import program

if __name__ == "__main__":
    program()
