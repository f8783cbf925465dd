"""Runs the fuzz target: its corpus always, the fuzzer for KVSSTCP_FUZZ_S seconds (10) where atheris is installed."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
TARGET = HERE / "fuzz_kvs.py"
CORPUS = HERE / "corpus_kvs"
RUN_S = int(os.environ.get("KVSSTCP_FUZZ_S", "10"))


def target() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_kvs", TARGET)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_the_corpus_finds_nothing(path: Path) -> None:
    target().one_input(path.read_bytes())


def test_damaged_corpus_finds_nothing() -> None:
    """Fuzzing of the blind kind, from one seed: also where there is no atheris."""
    one_input, chance = target().one_input, random.Random(20)
    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    for _ in range(3_000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(3)] = chance.choice(
                (bytes([chance.randrange(256)]), b"         1", b"put_", b"9", chance.choice(seeds)[2:])
            )
        one_input(bytes(data))


@pytest.mark.timeout(RUN_S + 120)
def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (it has builds for some Python versions only)")
    command = [sys.executable, str(TARGET), str(tmp_path), str(CORPUS), f"-max_total_time={RUN_S}"]
    ran = subprocess.run([*command, f"-artifact_prefix={tmp_path}/"], capture_output=True, text=True)
    print(ran.stderr[-3000:])
    assert ran.returncode == 0, "the fuzzer found something; the input is shown above, and reproduces it"
