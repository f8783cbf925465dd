"""`python -m disbatch`: the same program as the console scripts."""

from disbatch.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
