"""Which line of a launcher says why. The outputs are those of OpenSSH 9.2 and Slurm 22.05."""

import pytest

from disbatch.contexts.launchwords import SHOWN_CHARS, why

BINDING = "srun: cluster configuration lacks support for cpu binding\n"
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Please contact your system administrator.
Add correct host key in /h/known_hosts to get rid of this message.
Offending ED25519 key in /h/known_hosts:1
Host key for nodea has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", ""),
        ("ssh: Could not resolve hostname nowhere: Name or service not known\r\n", "ssh: Could not resolve hostname nowhere: Name or service not known"),
        ("Warning: Permanently added 'nodea' (ED25519) to the list of known hosts.\nroot@nodea: Permission denied (publickey).\n", "root@nodea: Permission denied (publickey)."),
        (CHANGED, "Host key for nodea has changed and you have requested strict checking."),
        ("No ED25519 host key is known for nodea and you have requested strict checking.\nHost key verification failed.\n", "No ED25519 host key is known for nodea and you have requested strict checking."),
        ("Host key verification failed.\n", "Host key verification failed."),
        ("** WARNING: connection is not using a post-quantum key exchange algorithm.\n** This session may be vulnerable\nbash: line 1: cd: /gone: No such file or directory\n", "bash: line 1: cd: /gone: No such file or directory"),
        (BINDING + "srun: error: Unable to create step for job 3: Requested node configuration is not available\n", "srun: error: Unable to create step for job 3: Requested node configuration is not available"),
        (BINDING + "srun: error: node1: task 0: Exited with exit code 3\nthis engine cannot work: because\n", "this engine cannot work: because"),
        ("this engine cannot work: because\nsrun: error: node1: task 0: Exited with exit code 3\n", "this engine cannot work: because"),
        (BINDING + "srun: error: node1: task 0: Killed\n", "srun: error: node1: task 0: Killed"),
        (BINDING + "slurmstepd-node1: error: execve(): /no/such: No such file or directory\nsrun: error: node1: task 0: Exited with exit code 2\n", "slurmstepd-node1: error: execve(): /no/such: No such file or directory"),
        (BINDING, ""),
        ("ok\x1b[31m\nred\x07\n", "red\\x07"),
    ],
)  # fmt: skip
def test_the_line_that_says_why(said: str, line: str) -> None:
    assert why(said) == line


def test_a_long_line_is_cut_behind() -> None:
    text = "this engine cannot work: " + "x" * 2000
    assert why(text).startswith("this engine cannot work") and len(why(text)) == SHOWN_CHARS


def test_several_lines_in_their_order_without_noise_and_repeats() -> None:
    said = "one\ntwo\nsrun: error: node1: task 0: Exited with exit code 3\ntwo\nthree\nfour\n"
    assert why(said, 3) == "two | three | four"
    assert why(CHANGED, 2).endswith(
        " | Host key for nodea has changed and you have requested strict checking."
    )


def test_of_several_long_lines_the_last_is_kept() -> None:
    assert why("x" * 500 + "\n" + "y" * 500, 3) == "y" * 500
