"""Below `ssh HOST disBatch …` a bash takes itself for the login shell; what disBatch starts must not."""

import pytest
from disbatch_runs import Bench

BASHRC = "echo welcome\ncd /\necho x >> $HOME/read\n"


@pytest.mark.parametrize("level", [None, "0", "", "x", "1", "7"])
def test_no_command_runs_the_start_file_of_the_login(bench: Bench, level: str | None) -> None:
    """A bash that has no such rule reads nothing anyway; what is checked then is the level."""
    home = bench.path / "home"
    home.mkdir()
    (home / ".bashrc").write_text(BASHRC)
    bench.env |= {"HOME": str(home), "SSH_CLIENT": "192.0.2.1 50000 22"}
    bench.env.pop("SHLVL", None)
    if level is not None:
        bench.env["SHLVL"] = level
    tasks = "#DISBATCH PERENGINE START pwd > start\npwd > $DISBATCH_TASKID.pwd; echo $SHLVL > level\n"
    done = bench.here(1, "--on-event", "pwd > hook; cat > /dev/null", tasks=tasks)
    assert done.code == 0, done.err
    assert not (home / "read").exists()
    assert bench.row(0).out_bytes == 0
    for name in ("0.pwd", "start", "hook"):
        assert bench.read(name).strip() == str(bench.path), name
    assert int(bench.read("level")) == {"7": 8}.get(str(level), 2)
