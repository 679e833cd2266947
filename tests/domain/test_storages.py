"""Where a storage may lie, and where the bytes of an instance's versions are (STO-1, B54, NET-6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import instance, storage
from domain.errors import InvalidInput
from domain.instance import Content, InstanceMoved, InstanceReplaced, InstanceStored
from domain.storage import StorageAdded, StorageRemoved, nesting_fault, path_fault

SYNTAX, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
FIRST = Content("a" * 64, 10, 100, SYNTAX, "one", "aa/a/first.dcm")
SECOND = Content("b" * 64, 10, 100, SYNTAX, "one", "bb/b/second.dcm")


@pytest.mark.parametrize(
    "path",
    [
        *("", "storage", "./storage", "/", "//", "/etc", "/etc/pacs", "/usr/share/x", "/proc/1", "/sys", "/bin/x"),
        *("/tmp", "/home", "/home/doctor", "/root", "/var", "/x\0y", "/" + "x" * 4_000),
    ],
)
def test_B54_a_folder_of_the_system_is_no_storage(path: str) -> None:
    assert path_fault(path).startswith("path: ")


@pytest.mark.parametrize("path", ["/srv/pacs", "/mnt/disk", "/home/doctor/pacs", "/var/lib/annals", "/" + "x" * 3_000])
def test_B54_other_folders_may_be_one(path: str) -> None:
    assert path_fault(path) == ""


@pytest.mark.parametrize(("path", "is_free"), [("/a/b", False), ("/a/b/c", False), ("/a", False), ("/a/bc", True)])
def test_B54_no_storage_lies_in_another(path: str, is_free: bool) -> None:
    assert (nesting_fault(path, ["/x", "/a/b"]) == "") is is_free


def replaced(stored: InstanceStored, content: Content) -> InstanceReplaced:
    return InstanceReplaced("1.2", "1.2.3", "1.2.4", "1.2.5", content, stored.particulars, stored.particulars_digest)


def test_NET_6_an_earlier_version_keeps_its_place_and_can_be_moved() -> None:
    stored = InstanceStored("1.2", "1.2.3", "1.2.4", "1.2.5", FIRST, "p", "d")
    known = instance.fold([stored, replaced(stored, SECOND)])
    assert known
    assert [known.place_of(one.digest, SYNTAX) for one in (FIRST, SECOND)] == [FIRST, SECOND]
    elsewhere = replace(FIRST, storage="two")
    (moved,) = instance.move(known, elsewhere)
    known = instance.evolve(known, moved)
    assert known
    assert (known.place_of(FIRST.digest, SYNTAX), known.stored.content) == (elsewhere, SECOND)
    assert instance.move(known, elsewhere) == instance.move(known, replace(FIRST, digest="c" * 64)) == []


def test_NET_6_the_earlier_version_that_comes_again_is_the_instance_and_no_earlier_one() -> None:
    stored = InstanceStored("1.2", "1.2.3", "1.2.4", "1.2.5", FIRST, "p", "d")
    again = replace(FIRST, storage="two")
    known = instance.fold([stored, replaced(stored, SECOND), replaced(stored, again)])
    assert known
    assert known.stored.content == again
    assert known.earlier == (SECOND,)
    (moved,) = instance.move(known, replace(again, storage="three"))
    assert moved == InstanceMoved("1.2", replace(again, storage="three"))


def test_NET_6_the_same_bytes_in_two_transfer_syntaxes_have_a_place_each() -> None:
    stored = InstanceStored("1.2", "1.2.3", "1.2.4", "1.2.5", FIRST, "p", "d")
    jpeg = replace(FIRST, transfer_syntax_uid=JPEG, path="aa/a/jpeg.dcm")
    known = instance.fold([stored, replaced(stored, SECOND), replaced(stored, jpeg)])
    assert known
    assert [known.place_of(FIRST.digest, one) for one in (SYNTAX, JPEG, "1.2.3")] == [FIRST, jpeg, jpeg]
    (moved,) = instance.move(known, replace(FIRST, storage="two"))
    known = instance.evolve(known, moved)
    assert known
    assert known.stored.content == jpeg
    assert known.place_of(FIRST.digest, SYNTAX) == replace(FIRST, storage="two")
    assert instance.move(known, replace(jpeg, transfer_syntax_uid="1.2.3")) == []


def test_STO_2_what_was_removed_with_its_files_never_comes_back_and_what_was_removed_without_may() -> None:
    added = StorageAdded("one", "id", "/srv/one")
    (removed,) = storage.remove(storage.fold([added]), "one")
    assert removed == StorageRemoved("one")
    known = storage.fold([added, removed])
    assert storage.add(known, added) == [added]
    (emptied,) = storage.remove(known, "one", True)
    assert emptied == StorageRemoved("one", files=True)
    for facts in ([added, emptied], [added, removed, emptied], [added, emptied, removed]):
        with pytest.raises(InvalidInput, match="with its files"):
            storage.add(storage.fold(facts), added)
