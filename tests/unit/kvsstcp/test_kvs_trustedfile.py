"""What is believed when it is read, and what is written into: regular files of this user or of root, and no others."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvsstcp import cli_server
from kvsstcp.errors import MachineError, UntrustedFile
from kvsstcp.infofile import Info, info_from_environment, read_info, write_info
from kvsstcp.ownfile import (
    check_replaceable,
    create_file,
    open_named,
    open_to_append,
    remove_own,
    write_named,
)
from kvsstcp.trustedfile import open_trusted

STRANGER = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("host:4711\n")
    path.chmod(0o600)
    return path


def reason(call: Callable[[], object]) -> str:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError) as caught:
        call()
    assert os.listdir("/proc/self/fd") == before, "a descriptor is left"
    return caught.value.strerror or ""


# -- reading


def test_what_is_mine_alone_is_read(file: Path) -> None:
    descriptor = open_trusted(file, private=True)
    assert os.get_blocking(descriptor) and not os.get_inheritable(descriptor)
    with os.fdopen(descriptor) as opened:
        assert opened.read() == "host:4711\n"


@pytest.mark.parametrize(
    ("mode", "private", "said"),
    [
        (0o644, True, ""),
        (0o664, False, ""),
        (0o664, True, "its group can write it"),
        (0o602, False, "others can write it"),
        (0o666, True, "others can write it"),
    ],
)
def test_modes(file: Path, mode: int, private: bool, said: str) -> None:
    file.chmod(mode)
    if not said:
        os.close(open_trusted(file, private=private))
        return
    told = reason(lambda: open_trusted(file, private=private))
    assert said in told and f"user id {os.geteuid()}" in told
    assert f"chmod {'go-w' if private else 'o-w'}" in told


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    told = reason(lambda: open_trusted(link))
    assert "symbolic link" in told and "name of the file itself" in told and f"user id {os.geteuid()}" in told
    link.unlink()
    link.symlink_to("nowhere")
    assert "symbolic link" in reason(lambda: open_trusted(link))


def test_a_folder_on_the_way_may_be_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    os.close(open_trusted(tmp_path / "folder" / "file"))


def test_a_circle_of_folders_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    assert "Too many levels" in reason(lambda: open_trusted(tmp_path / "circle" / "file"))


def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "it is a pipe of" in reason(lambda: open_trusted(tmp_path / "pipe"))


@pytest.mark.parametrize(("path", "what"), [("/dev/null", "a device"), ("/", "a folder")])
def test_what_is_no_file_is_refused(path: str, what: str) -> None:
    assert f"it is {what} of" in reason(lambda: open_trusted(path))


def test_a_file_that_is_not_there_is_just_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_trusted(tmp_path / "none")


@needs_root
def test_a_strangers_file_is_refused_by_owner_and_number(file: Path) -> None:
    os.chown(file, STRANGER, -1)
    told = reason(lambda: open_trusted(file))
    assert f"belongs to user id {STRANGER}" in told and "not to you (user id 0)" in told and "copy" in told
    os.chown(file, 65534, -1)
    assert "nobody (user id 65534)" in reason(lambda: open_trusted(file))


@needs_root
def test_roots_file_is_believed_by_others() -> None:
    said = {}
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can be entered by nobody else at all
        os.chmod(folder, 0o755)
        for owner in (0, STRANGER, STRANGER + 1):
            path = Path(folder, str(owner))
            path.touch(0o644)
            os.chown(path, owner, -1)
        os.seteuid(STRANGER)
        try:
            for name in os.listdir(folder):
                try:
                    os.close(open_trusted(os.path.join(folder, name)))
                except UntrustedFile as error:
                    said[name] = error.strerror
        finally:
            os.seteuid(0)
    (told,) = said.values()
    assert f"belongs to user id {STRANGER + 1}, not to you (user id {STRANGER})" in told


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_an_info_file_that_the_group_can_write_is_an_error_of_the_machine(file: Path, way: str) -> None:
    file.chmod(0o660)
    with pytest.raises(MachineError, match=f"cannot read the info file {file}: .*its group can write it"):
        read_info(file) if way == "argument" else info_from_environment({"KVSSTCP_INFO": str(file)})


def test_a_file_can_be_believed_and_written_on(file: Path) -> None:
    descriptor = open_trusted(file, flags=os.O_RDWR | os.O_APPEND)
    assert os.write(descriptor, b"more\n") and os.pread(descriptor, 4, 0) == b"host"
    os.close(descriptor)
    assert file.read_text() == "host:4711\nmore\n"


# -- writing


def test_an_info_file_is_not_written_in_the_place_of_a_link(file: Path, tmp_path: Path) -> None:
    info = Info((("host", 1),), b"x" * 32)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(MachineError, match=r"cannot write .*link: a symbolic link of .* is in its place"):
        write_info(link, info)
    half = tmp_path / f".new.{os.getpid()}.new"
    half.symlink_to(file)
    with pytest.raises(MachineError, match="symbolic link"):
        write_info(tmp_path / "new", info)
    assert file.read_text() == "host:4711\n" and link.is_symlink()


def test_create_does_not_follow_and_names_the_owner(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    told = reason(lambda: create_file(str(tmp_path / "link")))
    assert "a symbolic link of" in told and f"user id {os.geteuid()}" in told and "another name" in told
    assert "something of" in reason(lambda: create_file(str(file)))
    assert not (tmp_path / "nowhere").exists()


def test_nothing_that_is_made_can_be_written_by_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(create_file(str(tmp_path / "a")))
        os.close(open_to_append(str(tmp_path / "b")))
        os.close(open_named(str(tmp_path / "c")))
        write_named(str(tmp_path / "d")).close()
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abcd"] == [0o664, 0o664, 0o664, 0o644]


def test_appending(file: Path, tmp_path: Path) -> None:
    descriptor = open_to_append(str(file))
    os.write(descriptor, b"more\n")
    assert os.get_blocking(descriptor)
    os.close(descriptor)
    assert file.read_text() == "host:4711\nmore\n"
    (tmp_path / "link").symlink_to("nowhere")
    assert "symbolic link" in reason(lambda: open_to_append(str(tmp_path / "link")))
    os.link(file, tmp_path / "second")
    assert "second name" in reason(lambda: open_to_append(str(tmp_path / "second")))
    os.close(open_to_append(str(tmp_path / "second"), known_uid=os.geteuid()))
    os.mkfifo(tmp_path / "pipe")
    assert reason(lambda: open_to_append(str(tmp_path / "pipe")))
    assert not (tmp_path / "nowhere").exists()


@needs_root
def test_a_file_that_another_machine_shows_as_nobodys_is_written_on_by_who_made_it(file: Path) -> None:
    """As root on a file system that takes root for nobody."""
    os.chown(file, 65534, -1)
    os.close(open_to_append(str(file), known_uid=65534))
    assert "nobody" in reason(lambda: open_to_append(str(file)))
    os.chown(file, STRANGER, -1)
    assert f"user id {STRANGER}" in reason(lambda: open_to_append(str(file), known_uid=65534))


@needs_root
def test_a_strangers_file_is_neither_appended_to_nor_removed(file: Path) -> None:
    file.chmod(0o666)
    os.chown(file, STRANGER, -1)
    for call in (open_to_append, open_named, write_named, check_replaceable, remove_own, create_file):
        assert f"user id {STRANGER}" in reason(lambda call=call: call(str(file)))
    assert file.read_text() == "host:4711\n"


def test_what_the_user_names_may_be_a_device_or_a_link_of_theirs(file: Path, tmp_path: Path) -> None:
    os.close(open_named("/dev/null"))
    link = tmp_path / "link"
    link.symlink_to(file)
    descriptor = open_named(str(link))
    os.write(descriptor, b"more\n")
    os.close(descriptor)
    assert file.read_text() == "host:4711\nmore\n"
    link.unlink()
    link.symlink_to("/dev/null")
    os.close(open_named(str(link)))
    link.unlink()
    link.symlink_to(tmp_path)
    assert reason(lambda: open_named(str(link))) == "Is a directory"


@needs_root
def test_a_strangers_link_is_not_followed_though_the_user_has_named_it(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    assert f"symbolic link of user id {STRANGER}" in reason(lambda: open_named(str(link)))
    assert file.read_text() == "host:4711\n"


def test_remove_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    assert "symbolic link" in reason(lambda: remove_own(str(tmp_path / "link")))
    remove_own(str(file))
    remove_own(str(file))
    assert not file.exists()


@needs_root
def test_a_server_logs_into_no_strangers_file(file: Path) -> None:
    os.chown(file, STRANGER, -1)
    with pytest.raises(MachineError, match=f"cannot write the log {file}: it belongs to user id {STRANGER}"):
        cli_server._start_log(str(file))
    assert file.read_text() == "host:4711\n"


def test_an_address_file_can_be_read_as_an_info_file_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "address"
    path.write_text("something much longer that was there before\n")
    path.chmod(0o666)
    cli_server._write_address(str(path), ("host", 4711))
    assert path.read_text() == "host:4711\n"
    assert read_info(path).addresses == (("host", 4711),)
    cli_server._write_address("/dev/null", ("host", 4711))
