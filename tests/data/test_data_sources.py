import bz2
import gzip
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from ucuie.data.draft import Fault
from ucuie.data.sources import (
    archive_members,
    encoding_fault,
    find_source,
    read_json_items,
    read_lines,
    read_text,
)
from ucuie.errors import DataError


@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma), (".gz", gzip), (".bz2", bz2)])
def test_compressed_files_are_found_and_read_by_their_own_name(
    tmp_path: Path, suffix: str, compress: object
) -> None:
    with compress.open(tmp_path / f"a.txt{suffix}", "wt", encoding="utf-8") as file:  # type: ignore[attr-defined]
        file.write("é\n")
    assert read_text(find_source(tmp_path, "a.txt")) == "é\n"


def test_raw_files_in_other_encodings_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_text("Ada B-PER\nran O\n", encoding=encoding)
        for read in (
            read_text,
            lambda path: list(read_lines(path)),
            lambda path: list(read_json_items(path)),
        ):
            with pytest.raises(DataError, match="it is UTF-16; save it as UTF-8"):
                read(path)
    path.write_bytes(b"Ada B-PER\rran O\r")
    assert read_text(path) == "Ada B-PER\rran O\r"
    with pytest.raises(DataError, match="its lines end in CR alone"):
        list(read_lines(path))


def test_members_of_archives_are_paths(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("inside")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "b.txt", "./folder/b.txt")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "b.txt", "folder/b.txt")
    for name in ("t.tar.gz", "z.zip"):
        member = find_source(tmp_path, f"{name}/folder/b.txt")
        assert read_text(member) == "inside"
        assert archive_members(tmp_path / name, ".txt") == [member]
        with pytest.raises(DataError, match="is not there"):
            find_source(tmp_path, f"{name}/folder/c.txt")


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\u2028still one\r\ntwo\x85\n".encode())
    assert list(read_lines(tmp_path / "a.txt")) == [
        ("a.txt line 1", "one\u2028still one"),
        ("a.txt line 2", "two\x85"),
    ]


def test_bytes_that_are_not_utf8_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\na caf\xe9\n")
    assert [encoding_fault(line) for _, line in read_lines(tmp_path / "a.txt")] == [
        None,
        "not UTF-8: byte 0xe9 after 'a caf'",
    ]
    assert encoding_fault(read_text(tmp_path / "a.txt")) is not None


def test_json_lists_and_json_lines_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('\n [{"a": 1}, 2]')
    (tmp_path / "lines.json").write_text('{"a": 1}\n\n{"a"\n2\n')
    assert list(read_json_items(tmp_path / "list.json")) == [
        ("list.json item 1", {"a": 1}),
        ("list.json item 2", 2),
    ]
    first, fault, last = read_json_items(tmp_path / "lines.json")
    assert (first, last) == (("lines.json line 1", {"a": 1}), ("lines.json line 4", 2))
    assert isinstance(fault, Fault)
    assert fault.place == "lines.json line 3"
    (tmp_path / "broken.json").write_text("[1,\n2")
    with pytest.raises(DataError, match="line 2   not JSON"):
        list(read_json_items(tmp_path / "broken.json"))


def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    whole = lzma.compress(b"a line\n" * 1000)
    (tmp_path / "cut.txt.xz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.tar.gz").write_bytes(b"no archive")
    for read in (
        lambda: list(read_lines(tmp_path / "cut.txt.xz")),
        lambda: archive_members(tmp_path / "no.tar.gz"),
        lambda: read_text(tmp_path / "absent.txt"),
    ):
        with pytest.raises(DataError, match="it cannot be read"):
            read()


def test_json_that_python_refuses_is_a_fault_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"{'[' * 100_000}\n".replace("[", '{"a":', 1) + f"{'9' * 5000}\n1\n")
    first, second, last = read_json_items(tmp_path / "a.json")
    assert isinstance(first, Fault)
    assert isinstance(second, Fault)
    assert second.reason.startswith("not JSON that can be read")
    assert last == ("a.json line 3", 1)
