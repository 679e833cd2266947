"""A journal makes an import resumable and never makes it pass over what was not sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annals.importing.journal import Journal, default_path
from annals.importing.walk import Found
from domain.errors import InvalidInput

ONE, OTHER = Found(b"/a", 1, 1), Found(b"/b\n\xff", 1, 1)


def test_it_remembers_files_as_they_were_and_drops_a_torn_mark(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal"
    journal = Journal(path)
    journal.add(ONE, "1.2")
    journal.add(OTHER, "1.3")
    journal.close()
    os.truncate(path, path.stat().st_size - 3)
    journal = Journal(path)
    assert journal.has(ONE, "1.2")
    assert not journal.has(OTHER, "1.3")
    journal.add(OTHER, "1.3")
    journal.close()
    journal = Journal(path)
    assert journal.has(ONE, "1.2")
    assert journal.has(OTHER, "1.3")
    journal.close()


def test_another_size_time_or_object_under_the_same_name_is_another_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(ONE, "1.2")
    assert not journal.has(Found(b"/a", 2, 1), "1.2")
    assert not journal.has(Found(b"/a", 1, 2), "1.2")
    assert not journal.has(ONE, "1.3")
    journal.close()


def test_it_is_forgotten_when_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(ONE, "1.2")
    journal.close()
    journal = Journal(tmp_path / "journal", anew=True)
    assert not journal.has(ONE, "1.2")
    journal.close()
    assert (tmp_path / "journal").stat().st_size == 0


def test_two_imports_do_not_write_one_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(InvalidInput, match="another import"):
        Journal(tmp_path / "journal", anew=True)
    journal.close()
    Journal(tmp_path / "journal").close()


def test_a_place_that_cannot_hold_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="--journal"):
        Journal(tmp_path / "file" / "journal")


@given(st.binary(max_size=100))
def test_whatever_a_fault_left_in_it_nothing_counts_as_sent(
    tmp_path_factory: pytest.TempPathFactory, left: bytes
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    path.write_bytes(left)
    journal = Journal(path)
    assert not journal.has(ONE, "1.2")
    journal.add(ONE, "1.2")
    journal.close()
    journal = Journal(path)
    assert journal.has(ONE, "1.2")
    journal.close()


def test_each_server_and_folder_has_its_own(tmp_path: Path) -> None:
    paths = {
        default_path(tmp_path, *one)
        for one in (
            ("a", 1, "X", b"/f"),
            ("b", 1, "X", b"/f"),
            ("a", 2, "X", b"/f"),
            ("a", 1, "Y", b"/f"),
            ("a", 1, "X", b"/g\xff"),
        )
    }
    assert len(paths) == 5
