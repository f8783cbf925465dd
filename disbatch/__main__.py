"""`python -m disbatch`: the same program as the console scripts."""

from disbatch.programs import disbatch

if __name__ == "__main__":
    disbatch()
