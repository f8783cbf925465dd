"""Manual page, shell completion and reference page, made from an argparse parser. For the build: no run imports it."""
