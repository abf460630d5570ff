"""Names to write to: links are followed, and what is no file is refused before anything is done, and stays."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from geodtr_plugin.commands.main import main
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.figures import new_figure, save_figure
from geodtr_plugin.utils.files import atomic_path, write_text
from geodtr_plugin.utils.outputs import check_output_file, check_output_folder

posix = pytest.mark.skipif(os.name != "posix", reason="devices and pipes of POSIX systems")


@posix
@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), check_output_file, check_output_folder])
def test_what_is_no_file_is_refused_and_stays(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/null", tmp_path / "link")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for path in ("/dev/null", tmp_path / "pipe", tmp_path / "socket", tmp_path / "link"):
        with pytest.raises(UserError, match="is a device, a pipe or a socket, no file. Choose another name"):
            write(path)
    for path in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/1"):
        with pytest.raises(UserError, match=f"{path} is a stream, no file"):
            write(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe", "socket"]


@posix
def test_a_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/old").write_text("old", encoding="utf-8")
    os.symlink("elsewhere/old", tmp_path / "link")
    os.symlink("elsewhere/new", tmp_path / "dangling")
    os.symlink("circle", tmp_path / "circle")
    for name in ("link", "dangling"):
        check_output_file(tmp_path / name)
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink() and (tmp_path / name).read_text(encoding="utf-8") == "text"
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["new", "old"]
    with pytest.raises(UserError, match="circle cannot be written"):
        write_text(tmp_path / "circle", "text")


def test_folders_and_files_are_not_taken_for_each_other(tmp_path):
    (tmp_path / "file").write_text("here", encoding="utf-8")
    with pytest.raises(UserError, match="is a folder. Name a file"):
        check_output_file(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path, "x")
    with pytest.raises(UserError, match="file is a file. Remove it, or name another folder"):
        check_output_folder(tmp_path / "file")
    with pytest.raises(UserError, match="holds something already"):
        check_output_folder(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        with atomic_path(tmp_path) as folder:
            folder.mkdir()
    for check in (check_output_file, check_output_folder, lambda path: write_text(path, "x")):
        with pytest.raises(UserError, match="below cannot be written.*Choose another name"):
            check(tmp_path / "file/below")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text(encoding="utf-8") == "here"


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for check in (check_output_file, check_output_folder):
        with pytest.raises(UserError, match=f"new cannot be written: {tmp_path} may not be written to"):
            check(tmp_path / "new")
    monkeypatch.setattr("pathlib.Path.mkdir", lambda self, *args, **more: (_ for _ in ()).throw(
        PermissionError(13, "Permission denied", str(self))))  # fmt: skip
    with pytest.raises(UserError, match="new/file cannot be written .Permission denied.. Choose another name"):
        write_text(tmp_path / "new/file", "x")


def test_an_empty_folder_is_filled_and_not_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "mounted"
    folder.mkdir()
    before = folder.stat().st_ino
    monkeypatch.chdir(folder)
    check_output_folder(".")
    with atomic_path(".") as unfinished:
        unfinished.mkdir()
        write_text(unfinished / "a", "x")
        (unfinished / "b").mkdir()
    assert sorted(os.listdir(folder)) == ["a", "b"] and folder.stat().st_ino == before
    assert os.listdir(tmp_path) == ["mounted"]


@pytest.mark.parametrize("command", ["locate --index none photo.jpg", "data check cvusa"])
@pytest.mark.parametrize(
    "name, said",
    [
        ("m.txt", "The picture m.txt has the unknown ending .txt. Name one with .png, .jpg"),
        ("m", "The picture m has no ending. Name one with .png"),
        ("folder.png", "folder.png is a folder. Name a file"),
        ("file/m.png", "file/m.png cannot be written"),
    ],
)
def test_pictures_are_refused_before_any_work(tmp_path, monkeypatch, capsys, command, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    assert main([*command.split(), "--picture", name]) == 1
    assert said in capsys.readouterr().err


@posix
@pytest.mark.parametrize(
    "words",
    ["locate --index none photo.jpg --map", "export none -o", "data write synth-suburb --count 4 --out",
     "data check cvusa --write-missing"],
)  # fmt: skip
def test_commands_refuse_devices_and_files_in_place_of_folders(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name, said in (("/dev/null", "is a device"), ("file/below.png", "cannot be written")):
        assert main([*words.split(), name]) == 1
        assert said in capsys.readouterr().err
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and os.listdir(tmp_path) == ["file"]


def test_a_figure_is_written_whole_or_not_at_all(tmp_path):
    save_figure(new_figure(1, 1), tmp_path / "a.jpg", dpi=20)
    assert (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"
    with pytest.raises(ValueError):
        save_figure(new_figure(1, 1), tmp_path / "a.nonsense", dpi=20)
    assert os.listdir(tmp_path) == ["a.jpg"]
