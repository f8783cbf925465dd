"""Options against each other and the environment: each wrong combination."""

from fractions import Fraction
from pathlib import Path

import pytest

from disbatch.cli import build_parser
from disbatch.core.errors import UsageError
from disbatch.runtime.settings import RunSettings, WebSettings, settings_from

HERE = ["-s", "localhost:2"]


def settings(*arguments: str, **environ: str) -> RunSettings:
    return settings_from(build_parser().parse_args(list(arguments)), environ)


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(UsageError) as caught:
        settings(*arguments, **environ)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-S", *HERE], ["-S", "-s"]),
        (["--startup-only", "--ssh-node", "a:1", "Tasks"], ["-S", "-s"]),
        ([*HERE, "-R", "Tasks"], ["-R", "-r"]),
        ([*HERE, "--retry", "Tasks"], ["-R", "-r"]),
        ([*HERE, "--force-resume", "Tasks"], ["--force-resume", "-r"]),
        ([*HERE, "--mailFreq", "5", "Tasks"], ["--mailFreq", "--mailTo"]),
        ([*HERE, "--retire-cmd", "x", "Tasks"], ["--retire-cmd", "-s"]),
        ([*HERE, "-k", "x", "Tasks"], ["--retire-cmd", "-s"]),
        ([*HERE, "--kvsserver", "a:1", "--taskserver", "b:1"], ["--kvsserver", "--taskserver"]),
        ([*HERE, "--kvsserver", "a:1", "--taskserver", "a:2"], ["--kvsserver", "--taskserver"]),
        ([*HERE, "--taskserver", "a:1", "--taskcommand", "x"], ["--taskserver", "--taskcommand"]),
        ([*HERE, "--taskserver", "a:1", "Tasks"], ["--taskserver", "task file"]),
        ([*HERE, "--taskcommand", "x", "Tasks"], ["--taskcommand", "task file"]),
        ([*HERE, "--web-address", "8080", "Tasks"], ["--web-address", "-w"]),
        ([*HERE, "--web-control", "Tasks"], ["--web-control", "-w"]),
        (HERE, ["task file"]),
    ],
)
def test_wrong_combinations(arguments: list[str], named: list[str]) -> None:
    text = refusal(*arguments)
    for part in named:
        assert part in text
    assert "not available" not in text


@pytest.mark.parametrize(
    "use", [["--no-retire"], ["-k", ""], ["--retire-cmd", ""], ["--retire-cmd="], ["-C", "0"]]
)
def test_uses_that_ask_for_nothing_are_fine(use: list[str]) -> None:
    assert settings(*HERE, *use, "Tasks").taskfile == "Tasks"


def test_every_option_of_the_manual_is_there() -> None:
    manual = """-h --help -e --exit-code --force-resume --kvsserver --logfile --mailFreq --mailTo -p --prefix -r
    --resume-from -R --retry -S --startup-only --status-header -w --web --taskcommand --taskserver -C
    --context-task-limit -c --cpusPerTask --fill -g --gpu --no-retire -l --label --retire-cmd -s --ssh-node -t
    --tasksPerNode"""
    ours = "--no-bind --no-usage --fsync --grace --drain-before -k -f --fail-fast --dry-run --version --loglevel --use-address --quiet"
    known = {option for action in build_parser()._actions for option in action.option_strings}
    assert not set((manual + " " + ours).split()) - known


def test_all_the_plain_ones_together() -> None:
    got = settings(
        *HERE, "-s", "localhost:1", "-c", "0.5", "-t", "4", "-e", "-f", "-p", "pre", "-r", "a", "-r", "b", "-R",
        "--force-resume", "--status-header", "--logfile", "log", "--loglevel", "DEBUG", "--use-address",
        "127.0.0.1:4000", "--quiet", "--dry-run", "-l", "LAB", "dir/Tasks", DISBATCH_SSH_JOBID="j1",
    )  # fmt: skip
    (node,) = got.allocation.nodes
    assert (node.cores, node.slots, got.context.label) == (3, 4, "LAB")
    assert (got.taskfile, got.task_name, got.prefix, got.job_id) == ("dir/Tasks", "Tasks", "pre", "j1")
    assert got.resume_from == ("a", "b") and got.retry and got.force_resume
    assert got.exit_code and got.fail_fast and got.status_header and got.quiet and got.dry_run
    assert (got.logfile, got.loglevel, got.use_address) == ("log", "DEBUG", ("127.0.0.1", 4000))


@pytest.mark.parametrize(
    ("arguments", "address", "control"),
    [
        (["-w"], ("127.0.0.1", 0), False),
        (["-w", "--web-control"], ("127.0.0.1", 0), True),
        (["-w", "--web-address", "8080"], ("127.0.0.1", 8080), False),
        (["-w", "--web-address", "0.0.0.0:8080"], ("0.0.0.0", 8080), False),
        (["-w", "--web-address", "[::1]:80"], ("::1", 80), False),
    ],
)
def test_the_web_page(arguments: list[str], address: tuple[str, int], control: bool) -> None:
    assert settings(*HERE, *arguments, "Tasks").web == WebSettings(address, control)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kvsserver", "a:1", "--taskserver"],
        ["--taskserver", "a:1", "--kvsserver"],
        ["--kvsserver", "a:1", "--taskserver", "a:1"],
    ],
)
def test_one_server_named_once_serves_both(arguments: list[str]) -> None:
    server = settings(*HERE, *arguments, KVSSTCP_HOST="b", KVSSTCP_PORT="2").kvsserver
    assert server is not None and server.addresses == (("a", 1),)


def test_no_web_page_unless_asked_for() -> None:
    assert settings(*HERE, "Tasks").web is None
    assert "--web-address" in refusal(*HERE, "-w", "--web-address", "host:99999", "Tasks")


def test_standard_input_is_called_STDIN() -> None:
    assert settings(*HERE, "-").task_name == "STDIN"


def test_the_job_id_is_that_of_slurm_else_that_of_ssh() -> None:
    both = {"SLURM_JOB_ID": "12", "DISBATCH_SSH_JOBID": "j"}
    assert settings(*HERE, "Tasks", **both).job_id == "12"
    assert settings(*HERE, "Tasks", DISBATCH_SSH_JOBID="j").job_id == "j"
    assert settings(*HERE, "Tasks").job_id is None


def test_hosts_from_the_environment_unless_s_is_given() -> None:
    (node,) = settings("Tasks", DISBATCH_SSH_NODELIST="localhost:5").allocation.nodes
    assert node.slots == 5
    (node,) = settings(*HERE, "Tasks", DISBATCH_SSH_NODELIST="localhost:5").allocation.nodes
    assert node.slots == 2


def test_nothing_to_run_on_shows_the_option_to_use() -> None:
    assert "-s localhost:" in refusal("Tasks")


@pytest.mark.parametrize("item", ["localhost", "localhost:0", "h:abc", "h:-1"])
def test_a_wrong_host_is_quoted(item: str) -> None:
    assert repr(item) in refusal("-s", item, "Tasks")
    assert repr(item) in refusal("-s", f"localhost:1,{item}", "Tasks")
    text = refusal("Tasks", DISBATCH_SSH_NODELIST=item)
    assert repr(item) in text and "DISBATCH_SSH_NODELIST" in text


def test_other_hosts_stand_in_the_order_given() -> None:
    nodes = settings("-s", "localhost:1,otherhost:2", "Tasks").allocation.nodes
    assert [(node.name, node.slots) for node in nodes] == [("localhost", 1), ("otherhost", 2)]


def test_a_folder_is_no_task_file(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(*HERE, str(tmp_path))


@pytest.mark.parametrize(
    "address", ["host", "host:", ":4000", "host:65536", "host:x", "", ":", "host:-1", "host:²"]
)
def test_both_parts_of_an_address_are_required(address: str) -> None:
    text = refusal(*HERE, "--use-address", address, "Tasks")
    assert "--use-address" in text and repr(address) in text


@pytest.mark.parametrize(
    ("address", "parts"),
    [("h:1", ("h", 1)), ("10.0.0.1:65535", ("10.0.0.1", 65535)), ("[::1]:80", ("::1", 80))],
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert settings(*HERE, "--use-address", address, "Tasks").use_address == parts


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "0"],
        ["-c", "-1"],
        ["-c", "x"],
        ["-c", "1/0"],
        ["-c", "nan"],
        ["-c", "inf"],
        ["-t", "0"],
        ["-t", "-1"],
        ["-t", "1.5"],
        ["-C", "-1"],
        ["--mailFreq", "x"],
        ["--loglevel", "LOUD"],
        ["--no-such-option"],
        ["--retr"],
        ["a", "b"],
    ],
)
def test_what_argparse_refuses_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*HERE, *arguments, "Tasks"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("disBatch: error: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("0.5", Fraction(1, 2)), ("1.5", Fraction(3, 2)), ("1e-2", Fraction(1, 100))],
)
def test_cores_per_task_may_be_a_fraction(text: str, value: Fraction) -> None:
    assert build_parser().parse_args(["-c", text]).cpus_per_task == value


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--mailto", "a@b", "Tasks"], "--mailTo"),
        (["--exit", "Tasks"], "--exit-code"),
        (["--tasksPernode=3", "Tasks"], "--tasksPerNode"),
        (["--resumefrom", "x", "Tasks"], "--resume-from"),
        (["--nothing-like-it", "Tasks"], ""),
        (["Tasks", "more"], ""),
    ],
)
def test_a_mistyped_option_gets_the_one_that_was_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert ("did you mean" in said) == bool(meant)
    assert f"(did you mean {meant}? disBatch --help" in said if meant else "(disBatch --help" in said


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        (["-p", "", "Tasks"], {}, "-p needs a path"),
        (["--taskcommand", " "], {}, "--taskcommand needs a command"),
        (["Tasks"], {"DISBATCH_SSH_JOBID": "a/b"}, "DISBATCH_SSH_JOBID is 'a/b'"),
    ],
)
def test_values_that_cannot_be_used(arguments: list[str], environ: dict[str, str], named: str) -> None:
    assert named in refusal(*HERE, *arguments, **environ)
