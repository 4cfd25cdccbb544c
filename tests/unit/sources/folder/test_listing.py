"""What counts in a folder, and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from focusd.frame import FrameFile
from focusd.sources.folder import listing
from focusd.sources.folder.listing import Lister, readable
from focusd.sources.folder.readiness import Sighting

PATTERNS = ("*.tif", "*.TIFF", "img_??.png")


def names(folder: Path, *, recursive: bool = False) -> list[str]:
    """List a folder, and give the files relative to it."""
    found = Lister(str(folder), PATTERNS, recursive=recursive).list_all()
    return sorted(str(Path(sighting.path).relative_to(folder)) for sighting in found.sightings)


class Remembered:
    """Files that are done with, and which of them were looked at."""

    def __init__(self, sightings: list[Sighting]) -> None:
        self.files = {Path(sighting.path).name: sighting.file for sighting in sightings}
        self.asked: list[str] = []

    def knows_path(self, path: str) -> bool:
        return Path(path).name in self.files

    def knows(self, file: FrameFile) -> bool:
        self.asked.append(Path(file.path).name)
        return self.files.get(Path(file.path).name) == file


def make(folder: Path, *files: str) -> None:
    """Make files, with the folders they lie in."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"pixels")


def test_names_count_by_pattern_whatever_their_case(tmp_path: Path) -> None:
    """Names that begin with a dot are programs' own."""
    make(tmp_path, "a.tif", "B.TIF", "c.tiff", "img_01.png", "img_1.png", "d.tif.part", ".a.tif", "._a.tif")

    assert names(tmp_path) == ["B.TIF", "a.tif", "c.tiff", "img_01.png"]


def test_subfolders_count_only_where_they_are_asked_for(tmp_path: Path) -> None:
    """Those that begin with a dot never do, and links to folders are not gone into."""
    make(tmp_path, "a.tif", "one/b.tif", "one/two.tif/c.tif", ".cache/d.tif")
    (tmp_path / "one" / "up").symlink_to(tmp_path)

    assert names(tmp_path) == ["a.tif"]
    assert names(tmp_path, recursive=True) == ["a.tif", "one/b.tif", "one/two.tif/c.tif"]


def test_a_sighting_holds_size_and_both_times(tmp_path: Path) -> None:
    """To the nanosecond."""
    make(tmp_path, "a.tif")
    os.utime(tmp_path / "a.tif", ns=(1, 1_700_000_000_123_456_789))
    (sighting,) = Lister(str(tmp_path), PATTERNS, recursive=False).list_all().sightings

    assert (sighting.file.size_bytes, sighting.file.mtime_ns) == (6, 1_700_000_000_123_456_789)
    assert sighting.inode_changed_ns == (tmp_path / "a.tif").stat().st_ctime_ns


def test_entries_with_an_images_name_that_are_no_files_are_named(tmp_path: Path) -> None:
    """With the reason; a folder is none of them where subfolders count."""
    make(tmp_path, "real.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "link.tif").symlink_to("real.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    listed = {
        recursive: Lister(str(tmp_path), PATTERNS, recursive=recursive).list_all().oddities
        for recursive in (False, True)
    }

    assert listed[False] == {
        str(tmp_path / "folder.tif"): "is a directory",
        str(tmp_path / "link.tif"): "is a symbolic link, which is not followed",
        str(tmp_path / "pipe.tif"): "is not a regular file",
    }
    assert set(listed[True]) == set(listed[False]) - {str(tmp_path / "folder.tif")}


def test_single_entries_are_looked_at_as_in_a_listing(tmp_path: Path) -> None:
    """Those that are gone or do not count are left out; a new subfolder is told."""
    make(tmp_path, "a.tif", "notes.txt", "sub/b.tif")
    paths = [str(tmp_path / name) for name in ("a.tif", "notes.txt", "gone.tif", "sub")]

    flat = Lister(str(tmp_path), PATTERNS, recursive=False).look_at(paths)
    deep = Lister(str(tmp_path), PATTERNS, recursive=True).look_at(paths)

    assert [sighting.path for sighting in flat.sightings] == [paths[0]]
    assert (flat.folders, deep.folders) == (set(), {paths[3]})


def test_files_that_are_done_with_are_asked_for_their_time_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each listing looks at some of them, so that each has its turn, and at new ones; all are present."""
    monkeypatch.setattr(listing, "ASKED_AGAIN", 4)
    make(tmp_path, *(f"{number}.tif" for number in range(10)))
    lister = Lister(str(tmp_path), PATTERNS, recursive=False)
    done = Remembered(lister.list_all().sightings)
    make(tmp_path, "new.tif")

    listings = [lister.list_all(done) for _ in range(3)]

    assert [[Path(sighting.path).name for sighting in one.sightings] for one in listings] == [["new.tif"]] * 3
    assert [len(one.present) for one in listings] == [11] * 3
    assert sorted(done.asked) == sorted([*done.files, *["new.tif"] * 3])


def test_files_that_are_written_over_are_found_again(tmp_path: Path) -> None:
    """Their names are done with, they are not."""
    make(tmp_path, "a.tif", "b.tif")
    lister = Lister(str(tmp_path), PATTERNS, recursive=False)
    done = Remembered(lister.list_all().sightings)
    (tmp_path / "a.tif").write_bytes(b"another frame")

    assert [Path(sighting.path).name for sighting in lister.list_all(done).sightings] == ["a.tif"]


def test_what_has_come_in_place_of_a_file_is_looked_at(tmp_path: Path) -> None:
    """A name that is done with and stands for a link or a folder now is odd as ever."""
    make(tmp_path, "a.tif")
    lister = Lister(str(tmp_path), PATTERNS, recursive=False)
    done = Remembered(lister.list_all().sightings)
    (tmp_path / "a.tif").unlink()
    (tmp_path / "a.tif").mkdir()

    found = lister.list_all(done)

    assert (found.oddities, found.present) == ({str(tmp_path / "a.tif"): "is a directory"}, set())


def test_of_very_many_files_the_oldest_are_taken_in(tmp_path: Path) -> None:
    """The others are counted, and present."""
    make(tmp_path, *(f"{number:02}.tif" for number in range(20)))
    for number in range(20):
        os.utime(tmp_path / f"{number:02}.tif", ns=(1, 100 - number))

    found = Lister(str(tmp_path), PATTERNS, recursive=False).list_all(most=3)

    assert [Path(sighting.path).name for sighting in found.sightings] == ["19.tif", "18.tif", "17.tif"]
    assert (found.left_out, len(found.present)) == (17, 20)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is for the caller to wait for it."""
    with pytest.raises(FileNotFoundError):
        Lister(str(tmp_path / "none"), PATTERNS, recursive=True).list_all()


def test_another_folder_of_the_same_name_is_told_from_the_first(tmp_path: Path) -> None:
    """A share that was mounted again is another one to the system."""
    folder, aside = tmp_path / "frames", tmp_path / "aside"
    folder.mkdir()
    lister = Lister(str(folder), PATTERNS, recursive=False)
    first = lister.list_all().identity
    assert lister.list_all().identity == first
    folder.rename(aside)
    folder.mkdir()

    assert lister.list_all().identity != first


def test_a_name_that_is_no_text_can_be_shown_and_stored() -> None:
    """Bytes that are no UTF-8 are written out; all else stays."""
    assert readable(os.fsdecode(b"/data/\xb5m \xc2\xb5m.tif")) == "/data/\\xb5m µm.tif"
