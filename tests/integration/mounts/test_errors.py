"""What the system refuses while mounting, and a second call beside the first: told in three lines, with nothing left behind."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import engine
from holdfast.cli.main import main
from holdfast.errors import Interrupted, MountError, TargetNotEmptyError, UsageError
from holdfast.runs.mounts import mount as runs
from holdfast.runs.mounts import upper as uppers
from holdfast.runs.mounts.layout import upper_of
from servers import fuse


@pytest.fixture
def vault(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    fuse.ready()
    (tmp_path / "m").mkdir()
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        made.backup(tmp_path / "source")
        yield made


class Told:
    """A mount of the engine's that answers as told."""

    def __init__(self, *answers: int) -> None:
        self.answers = [*answers]
        self.asked: list[bool] = []
        self.over = False

    def unmount(self, lazily: bool) -> None:  # noqa: FBT001 - the engine's
        self.asked.append(lazily)
        answer = self.answers.pop(0) if self.answers else 0
        if answer:
            raise OSError(answer, "mount")
        self.over = True


def test_the_system_refuses_to_mount(vault, tmp_path, monkeypatch):
    def refuse(**_: object) -> None:
        raise OSError(errno.EPERM, "mount")

    class Refusing:
        read_only = writable = staticmethod(refuse)

    monkeypatch.setattr(engine, "Mount", Refusing)
    for call in (vault.mount, vault.mount_writable):
        with pytest.raises(MountError) as found:
            call(tmp_path / "m", snapshot="latest")
        assert "Operation not permitted" in found.value.what


def test_how_a_mount_is_ended(tmp_path):
    folder = upper_of(tmp_path / "m", None)
    said: list[str] = []
    hear = lambda event: said.append(event.code)  # noqa: E731
    idle: Any = Told()
    assert runs._end(idle, None, hear, told=False) is False
    assert idle.asked == [False]
    looked_into: Any = Told(errno.EBUSY)
    assert runs._end(looked_into, None, hear, told=False) is True
    assert looked_into.asked == [False, True]
    assert said == []
    in_use: Any = Told(errno.EBUSY, errno.EBUSY)
    assert runs._end(in_use, folder, hear, told=False) is True
    assert runs._end(in_use, folder, hear, told=True) is True
    assert said == ["mount-busy"]
    gone: Any = Told(errno.EINVAL)
    broken: Any = Told(errno.EIO)
    assert runs._end(gone, folder, hear, told=False) is False
    with pytest.raises(MountError):
        runs._end(broken, folder, hear, told=False)


def test_a_second_signal_detaches(vault, tmp_path):
    there, stop = threading.Event(), threading.Event()

    def hear(event: object) -> None:
        if getattr(event, "code", "") == "mounted":
            there.set()
        if there.is_set() and os.path.ismount(tmp_path / "m"):
            raise Interrupted

    try:
        with pytest.raises(Interrupted):
            vault.mount_writable(tmp_path / "m", snapshot="latest", events=hear, stop=stop)
        assert there.is_set()
    finally:
        fuse.sweep(tmp_path / "m")


def test_a_switch_over_that_is_interrupted_goes_on(tmp_path, monkeypatch):
    folder = upper_of(tmp_path / "m", None)
    (tmp_path / "m").mkdir()
    uppers.make_upper(folder, "0" * 32, "1" * 32)
    (folder.tree / "file").write_text("x")
    (folder.links / "0-1").write_text("x")
    uppers.mark_whole(folder)

    def refuse(code: int):
        def rename(*_: object) -> None:
            raise OSError(code, "rename")

        return rename

    for code, error in ((errno.EXDEV, UsageError), (errno.ENOTEMPTY, TargetNotEmptyError), (errno.EIO, MountError)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse(code))
            with pytest.raises(error):
                holdfast.finish_mount(tmp_path / "m")
    folder.tree.rename(tmp_path / "m")  # killed after the rename
    assert holdfast.finish_mount(tmp_path / "m").snapshot == "1" * 32
    assert (tmp_path / "m" / "file").read_text() == "x"
    assert not folder.root.exists()


def test_an_upper_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MountError):
        uppers.make_upper(upper_of(tmp_path / "m", tmp_path / "file" / "x"), "", "")


def test_the_command_line_refuses_what_makes_no_sense(tmp_path, capsys):
    vault = ["--vault", str(tmp_path), "--key-file", str(tmp_path / "k")]
    assert main(["mount", "a", "b", "c", *vault]) == 2
    assert main(["mount", "a", "--upper", "x", *vault]) == 2
    assert main(["mount", "a", "--to", "x", *vault]) == 2
    assert main(["mount", *vault]) == 2
    assert "mount takes a snapshot and a path" in capsys.readouterr().err
