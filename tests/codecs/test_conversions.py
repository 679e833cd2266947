"""Objects that one child converts together: each is as if it were alone, also beside one that fails (D20, F45)."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from adapters.codecs.conversions import TOGETHER_MAX, Conversions
from adapters.codecs.transcoder import Transcoder
from adapters.codecs.workers import Asked
from domain.errors import Refused, Unavailable
from domain.limits import Limits
from domain.transcoding import DEFLATED, EXPLICIT, JPEG_BASELINE, JPEG_LS, RLE
from processes.pixel_ports import Conversion, Stored
from tests.archive.conftest import until
from tests.codecs.pictures import data_set, has_message, made, opened, saved


@dataclass
class Asking:
    """Asks one child for objects; ``together`` are the sizes of the groups that went to it."""

    transcoder: Transcoder
    folder: Path
    together: list[int] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def path(self, image: Dataset, syntax: str = EXPLICIT) -> Path:
        return saved(image, self.folder / f"{image.SOPInstanceUID}.dcm", syntax)

    def alone(self, path: Path, syntax: str = RLE) -> bytes:
        with opened(path) as stored:
            return data_set(self.transcoder.converted(stored, syntax))

    def begin(self, path: Path, *order: str) -> Future[Stored]:
        def copy() -> Stored:
            with opened(path) as stored:
                return replace(stored, descriptor=os.dup(stored.descriptor))

        note = Conversion(
            copy, path.stat().st_size, order or (RLE,), lambda *what: self.told.append((what[0], str(what[1])))
        )
        return self.transcoder.begin(note)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The only thread waits over an object, so that what is begun meanwhile waits together."""
        waits, go_on = threading.Event(), threading.Event()

        def wait() -> Stored:
            waits.set()
            go_on.wait(60)
            raise FileNotFoundError

        first = self.transcoder.begin(Conversion(wait, 0, (RLE,), lambda *_: None))
        assert waits.wait(60)
        try:
            yield
        finally:
            go_on.set()
        assert isinstance(first.exception(60), FileNotFoundError)


@contextmanager
def asking(folder: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits | None = None) -> Iterator[Asking]:
    with closing(Transcoder(limits or Limits(), 1)) as transcoder:
        one = Asking(transcoder, folder)
        ask_together = transcoder._workers.ask_together

        def noted(requests: list[Asked]) -> list[dict[str, object]]:
            one.together.append(len(requests))
            return ask_together(requests)

        monkeypatch.setattr(transcoder._workers, "ask_together", noted)
        yield one


def open_files(folder: Path) -> int:
    """How many memory files and files of a folder this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += os.readlink(entry).startswith(("/memfd:", str(folder)))
    return found


def images(count: int) -> list[Dataset]:
    return [made(seed=number) for number in range(count)]


def test_D20_objects_that_are_converted_together_are_as_if_alone_and_one_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asking(tmp_path, monkeypatch) as one:
        paths = [one.path(image) for image in images(5)]
        wanted = [one.alone(path) for path in paths]
        broken = made()
        del broken.Rows
        with one.held():
            begun = [one.begin(path) for path in (*paths[:3], one.path(broken), *paths[3:])]
        with pytest.raises(Refused, match="in any syntax"):
            begun.pop(3).result(60)
        assert [data_set(each.result(60)) for each in begun] == wanted
        assert one.together == [6]
        assert one.told == [(RLE, "the image is not fully described")]


def test_D20_a_child_that_dies_over_some_objects_costs_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with asking(tmp_path, monkeypatch) as one, caplog.at_level(logging.ERROR, "annals.codecs"):
        paths = [one.path(image) for image in images(4)]
        wanted = [one.alone(path) for path in paths]
        (child,) = one.transcoder._workers.processes()
        os.kill(child, signal.SIGSTOP)
        with one.held():
            begun = [one.begin(path) for path in paths]
        until(lambda: has_message(one.transcoder), 60, "the child has its message")
        os.kill(child, signal.SIGSEGV)
        os.kill(child, signal.SIGCONT)
        assert [data_set(each.result(60)) for each in begun] == wanted
        assert one.together == [4]
        assert [record.getMessage() for record in caplog.records] == [
            "a codec process died (SIGSEGV) over one of 4 objects, which are asked for again one by one"
        ]


def test_D20_a_child_past_its_deadline_over_some_objects_is_killed_and_each_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asking(tmp_path, monkeypatch, Limits(codec_timeout_seconds=1.5)) as one:
        paths = [one.path(image) for image in images(3)]
        wanted = [one.alone(path) for path in paths]
        (child,) = one.transcoder._workers.processes()
        os.kill(child, signal.SIGSTOP)
        with one.held():
            begun = [one.begin(path) for path in paths]
        assert [data_set(each.result(60)) for each in begun] == wanted
        assert not Path(f"/proc/{child}").exists()
        assert one.together == [3]


def test_F45_a_dying_child_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as one:
        paths = [one.path(image) for image in images(3)]
        one.alone(paths[0])
        before = open_files(tmp_path)
        (child,) = one.transcoder._workers.processes()
        os.kill(child, signal.SIGSTOP)
        with one.held():
            begun = [one.begin(path) for path in paths]
        until(lambda: has_message(one.transcoder), 60, "the child has its message")
        os.kill(child, signal.SIGKILL)
        for each in begun:
            os.close(each.result(60).descriptor)
        until(lambda: open_files(tmp_path) == before, 60, "all else is closed")


def test_what_is_large_or_deflated_is_converted_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as one:
        small = [one.path(image) for image in images(4)]
        large = one.path(made(rows=1600, columns=1600))
        deflated = one.path(made(seed=9), DEFLATED)
        paths = [*small[:2], large, *small[2:]]
        wanted = [one.alone(path) for path in (*paths, deflated)]
        with one.held():
            begun = [one.begin(path) for path in paths]
        assert [data_set(each.result(60)) for each in begun] == wanted[:-1]
        assert one.together == [2, 2]
        with one.held():
            begun = [one.begin(path) for path in (small[0], deflated)]
        assert [data_set(each.result(60)) for each in begun] == [wanted[0], wanted[-1]]
        assert one.together == [2, 2]


def test_TS_3_an_object_comes_in_the_first_of_the_syntaxes_that_it_can_be_had_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asking(tmp_path, monkeypatch) as one:
        path = one.path(made())
        with one.held():
            begun = [one.begin(path, JPEG_BASELINE, JPEG_LS), one.begin(path, JPEG_BASELINE, EXPLICIT), one.begin(path)]
        first, second, third = (each.result(60) for each in begun)
        assert (first.transfer_syntax_uid, second.transfer_syntax_uid) == (JPEG_LS, EXPLICIT)
        assert data_set(first) == one.alone(path, JPEG_LS)
        assert data_set(third) == one.alone(path)
        with opened(path) as stored:
            assert data_set(second) == os.pread(stored.descriptor, stored.length, stored.offset)
        assert one.told == [(JPEG_BASELINE, "JPEG Baseline holds 8 unsigned bits")] * 2


def test_what_nobody_waits_for_any_more_is_not_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as one:
        paths = [one.path(image) for image in images(3)]
        with one.held():
            begun = [one.begin(path) for path in paths]
            assert begun.pop(1).cancel()
        for each in begun:
            os.close(each.result(60).descriptor)
        assert one.together == [2]


def test_a_transcoder_that_is_closed_lets_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as one:
        paths = [one.path(image) for image in images(4)]
        one.alone(paths[0])
        (child,) = one.transcoder._workers.processes()
        os.kill(child, signal.SIGSTOP)
        with one.held():
            begun = [one.begin(path) for path in paths[:2]]
        until(lambda: has_message(one.transcoder), 60, "the child has its message")
        later = one.begin(paths[2])
        one.transcoder.close()
        for each in begun:
            assert isinstance(each.exception(60), Refused | Unavailable)
        for each in (later, one.begin(paths[3])):
            with pytest.raises(CancelledError):
                each.result(60)


def test_objects_go_together_by_how_long_others_took_in_that_syntax(tmp_path: Path) -> None:
    path, now, groups, waiting = tmp_path / "image", 0.0, [], deque[Callable[[], None]]()
    path.write_bytes(b"")

    def together(some: Sequence[tuple[Stored, str]]) -> list[Stored | None]:
        nonlocal now
        groups.append(len(some))
        now += sum(stored.length * {RLE: 9e-8, JPEG_LS: 35e-9}[wanted] for stored, wanted in some)
        return [Stored(os.dup(stored.descriptor), 0, 0, wanted) for stored, wanted in some]

    def alone(stored: Stored, wanted: str) -> Stored:
        (made,) = together([(stored, wanted)])
        assert made
        return made

    def opened() -> Stored:
        return Stored(os.open(path, os.O_RDONLY), 0, 500_000, EXPLICIT)

    def asked(count: int, syntax: str, length: int = 500_000) -> list[int]:
        begun = [
            conversions.begin(Conversion(lambda: replace(opened(), length=length), length, (syntax,), lambda *_: None))
            for _ in range(count)
        ]
        groups.clear()
        while waiting:
            waiting.popleft()()
        for one in begun:
            os.close(one.result(0).descriptor)
        return groups

    conversions = Conversions(1, waiting.append, alone, together, lambda: now)
    assert asked(10, RLE) == [8, 2], "nothing is known: as many as are small together"
    assert asked(10, RLE) == [2, 2, 2, 2, 2], "45 ms each"
    assert asked(10, JPEG_LS) == [8, 2]
    assert asked(20, JPEG_LS) == [5, 5, 5, 5], "17.5 ms each"
    assert asked(40, JPEG_LS, 1_000) == [32, 8], "no more than a message holds"
    assert asked(3, RLE, 5_000_000) == [1, 1, 1], "large ones alone"


def test_a_thread_that_finds_nothing_more_leaves_the_next_one_its_place(tmp_path: Path) -> None:
    path, waiting = tmp_path / "image", deque[Callable[[], None]]()
    path.write_bytes(b"")

    def opened() -> Stored:
        return Stored(os.open(path, os.O_RDONLY), 0, 100, EXPLICIT)

    def made(stored: Stored, wanted: str) -> Stored:
        return replace(stored, descriptor=os.dup(stored.descriptor), transfer_syntax_uid=wanted)

    conversions = Conversions(2, waiting.append, made, lambda some: [made(*one) for one in some])
    for _ in range(3):
        begun = [conversions.begin(Conversion(opened, 100, (RLE,), lambda *_: None)) for _ in range(4)]
        assert len(waiting) == 2, "a thread for each child"
        # Both have begun before the first has ended: the one that comes last finds nothing.
        while waiting:
            waiting.popleft()()
        for one in begun:
            os.close(one.result(0).descriptor)


def test_a_message_holds_as_many_objects_as_go_together_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asking(tmp_path, monkeypatch) as one:
        paths = [one.path(image) for image in images(TOGETHER_MAX + 1)]
        wanted = [one.alone(path) for path in paths]
        with one.held():
            begun = [one.begin(path) for path in paths]
        assert [data_set(each.result(60)) for each in begun] == wanted
        assert one.together == [TOGETHER_MAX]
