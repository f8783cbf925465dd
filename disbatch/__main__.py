"""`python -m disbatch`: the same program as the console scripts."""

from disbatch.cli import program

if __name__ == "__main__":
    program()
