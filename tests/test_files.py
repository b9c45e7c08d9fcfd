"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from small_disk import files_of_at_most
from ucuie.errors import ConfigError
from ucuie.files import StagedLines, new_folder, staged_file, staged_files, write_text


def test_text_is_replaced_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old\n")
    write_text(path, "new 🙂\n")
    assert path.read_text("utf-8") == "new 🙂\n"
    assert list(path.parent.iterdir()) == [path]


def test_text_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_staged_files_come_together_and_leave_others(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    with staged_files(tmp_path, last="info") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "x").write_text("1")
        (staging / "info").write_text("2")
        assert not (tmp_path / "info").exists()
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["info", "other", "sub/x"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_new_folder_is_whole_or_not_there(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "a" / "new"

    def fail() -> None:
        with new_folder(folder) as staging:
            (staging / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(folder.parent.iterdir()) == []
    if is_there:
        folder.mkdir()
    with new_folder(folder) as staging:
        (staging / "x").write_text("whole")
        assert not (folder / "x").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "a",
        "a/new",
        "a/new/x",
    ]
    # As if `mkdir` had made it, for whoever shares the machine.
    assert folder.stat().st_mode == folder.parent.stat().st_mode


def test_a_new_folder_takes_no_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path) as staging:
        (staging / "y").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_staged_files_of_a_failure_vanish(tmp_path: Path) -> None:
    def fail() -> None:
        with staged_files(tmp_path, last="info") as staging:
            (staging / "info").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_staged_lines_go_on_after_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with StagedLines(path, key="k" * 64) as staged:
        assert staged.read() == []
        staged.append("first \u2028 line")
    with staged.staged.open("ab") as file:
        file.write(b"half of the sec")
    assert not path.exists()
    with StagedLines(path, key="k" * 64) as again:
        assert again.read() == ["first \u2028 line"]
        again.append("second")
        again.publish()
    assert path.read_text("utf-8") == "first \u2028 line\nsecond\n"
    assert list(tmp_path.iterdir()) == [path]


def test_staged_lines_outlive_a_disk_that_is_full(tmp_path: Path) -> None:
    with StagedLines(tmp_path / "out", key="k") as staged:
        lines = [f"line {number}" for number in range(100)]
        for line in lines:
            staged.append(line)
        with staged.staged.open("ab") as file:
            file.write(b"half of")
        with files_of_at_most(10):
            assert staged.read() == lines
        assert staged.read() == lines


def test_other_work_on_the_same_file_starts_anew(tmp_path: Path) -> None:
    with StagedLines(tmp_path / "out", key="a") as staged:
        staged.append("line")
    with StagedLines(tmp_path / "out", key="b") as staged:
        assert staged.read() == []


def test_no_lines_are_an_empty_file(tmp_path: Path) -> None:
    with StagedLines(tmp_path / "sub" / "out", key="a") as staged:
        staged.publish()
    assert (tmp_path / "sub" / "out").read_text() == ""


@pytest.mark.parametrize("key", ["same", "other"])
def test_a_second_run_at_the_same_file_is_refused_while_the_first_is_at_it(tmp_path: Path, key: str) -> None:
    path = tmp_path / "sub" / "out.jsonl"
    with StagedLines(path, key="same") as first:
        first.append("one")
        with (
            pytest.raises(ConfigError, match=r"another run is writing to '.*; wait for it"),
            StagedLines(path, key=key),
        ):
            raise AssertionError("it was let in")
        first.append("two")
        first.publish()
    assert path.read_text() == "one\ntwo\n"
    with StagedLines(path, key=key) as second:
        second.publish()
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_the_place_of_a_staged_file_is_not_followed(tmp_path: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine\n")
    staged = StagedLines(out, key="k")
    staged.staged.symlink_to(victim)
    (tmp_path / ".out.part").symlink_to(victim)
    write_text(out, "text")
    with staged:
        assert staged.read() == []
        staged.append("line")
        staged.publish()
    assert (victim.read_text(), out.read_text(), out.is_symlink()) == ("mine\n", "line\n", False)


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged_file(out) as first:
        first.write_text("first")
        with staged_file(out) as second:
            second.write_text("the second")
        assert out.read_text() == "the second"
    assert out.read_text() == "first"
    assert list(tmp_path.iterdir()) == [out]


def test_a_new_folder_of_staged_files_is_not_there_after_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "model"
    with (
        files_of_at_most(10),
        pytest.raises(OSError, match="File too large"),
        staged_files(folder, last="info") as staging,
    ):
        write_text(staging / "info", "more than ten")
    assert not folder.exists()


def test_what_finds_no_room_is_named(tmp_path: Path) -> None:
    with files_of_at_most(10), StagedLines(tmp_path / "lines.jsonl", key="k") as lines:
        with pytest.raises(OSError, match="File too large") as caught:
            write_text(tmp_path / "a.txt", "x" * 20)
        assert caught.value.filename == str(tmp_path / "a.txt")
        with pytest.raises(OSError, match="File too large") as caught:
            lines.append("x" * 20)
        assert caught.value.filename == str(tmp_path / "lines.jsonl")
