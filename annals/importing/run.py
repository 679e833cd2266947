"""One import: every file below a folder is tried, what the server has is noted, what it has not is reported."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from adapters.dicom.foreign_file import ForeignFile, ForeignFileReader, MediaDirectory, NotAnObject
from annals.importing.journal import Journal
from annals.importing.progress import Progress
from annals.importing.report import Report
from annals.importing.send import Sender, Server, Unreachable
from annals.importing.walk import Found, walk
from domain.limits import Limits

_FAILED, _UNREACHABLE, _INTERRUPTED = 1, 3, 130
_AHEAD = 32


@dataclass(slots=True)
class Tally:
    """What became of the files."""

    sent: int = 0
    sent_before: int = 0
    passed_over: int = 0
    unreadable: int = 0
    not_sent: int = 0

    @property
    def exit_code(self) -> int:
        """0: the server has every object that was found; 1: not all."""
        return _FAILED if self.unreadable or self.not_sent else 0


@dataclass(frozen=True, slots=True)
class _Ready:
    found: Found
    descriptor: int
    file: ForeignFile


@dataclass(slots=True)
class Import:
    """The parts of an import that runs."""

    reader: ForeignFileReader
    sender: Sender
    journal: Journal
    unreadable: Report
    not_sent: Report
    progress: Progress
    tally: Tally

    def run(self, root: bytes) -> None:
        """Send what is below ``root``. Raises :class:`annals.importing.send.Unreachable`."""
        ahead: deque[_Ready] = deque()
        try:
            for ready in self._readable(root):
                ahead.append(ready)
                if len(ahead) > _AHEAD:
                    self._send(ahead)
            while ahead:
                self._send(ahead)
        finally:
            for left in ahead:
                os.close(left.descriptor)

    def _send(self, ahead: deque[_Ready]) -> None:
        one = ahead[0]
        reason = self.sender.send(one.descriptor, one.file, (ready.file for ready in ahead))
        ahead.popleft()
        os.close(one.descriptor)
        if reason:
            self.tally.not_sent += 1
            self.not_sent.add(one.found.path, reason)
            self.progress.say(one.found.path, f"not sent: {reason}")
        else:
            self.tally.sent += 1
            self.journal.add(one.found, one.file.sop_instance_uid)
        self.progress.done(one.found.size, sent=not reason)

    def _readable(self, root: bytes) -> Iterator[_Ready]:
        for one in walk(root):
            if not isinstance(one, Found):
                self._pass_over(one.path, one.reason, failed=one.failed)
                continue
            ready = self._read(one)
            if ready and not self.journal.has(one, ready.file.sop_instance_uid):
                yield ready
                continue
            if ready:
                os.close(ready.descriptor)
                self.tally.sent_before += 1
            self.progress.done(one.size, sent=False)

    def _read(self, found: Found) -> _Ready | None:
        try:
            descriptor = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            self._pass_over(found.path, f"cannot be opened: {error.strerror}", failed=True)
            return None
        try:
            return _Ready(found, descriptor, self.reader.read(descriptor))
        except MediaDirectory as directory:
            self._pass_over(found.path, str(directory), failed=False)
        except NotAnObject as error:
            self._pass_over(found.path, str(error), failed=True)
        except OSError as error:
            self._pass_over(found.path, f"cannot be read: {error.strerror}", failed=True)
        os.close(descriptor)
        return None

    def _pass_over(self, path: bytes, reason: str, *, failed: bool) -> None:
        if failed:
            self.tally.unreadable += 1
        else:
            self.tally.passed_over += 1
            reason = f"passed over: {reason}"
        self.unreadable.add(path, reason)
        self.progress.say(path, reason)


def import_folder(server: Server, root: bytes, journal: Journal, reports: Path) -> int:
    """Import a folder, with a bar; the exit code. Closes ``journal``."""
    console = Console(stderr=True)
    limits = Limits()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    unreadable = Report(reports / f"annals-import-{stamp}-unreadable.txt")
    not_sent = Report(reports / f"annals-import-{stamp}-not-sent.txt")
    sender = Sender(server, limits)
    tally = Tally()
    code = _UNREACHABLE
    try:
        with Progress(root, console) as progress:
            Import(ForeignFileReader(limits), sender, journal, unreadable, not_sent, progress, tally).run(root)
        code = tally.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
        sender.abort()
        typer.echo("interrupted: run the same command again to go on", err=True)
    except Unreachable as error:
        typer.echo(f"{error}: run the same command again to go on when it answers", err=True)
    except OSError as error:
        code = _FAILED
        typer.echo(f"a report or the journal cannot be written: {error.strerror}; run the same command again", err=True)
    finally:
        sender.close()
        journal.close()
        unreadable.close()
        not_sent.close()
    _tell(tally, unreadable, not_sent)
    return code


def _tell(tally: Tally, unreadable: Report, not_sent: Report) -> None:
    before = f", {tally.sent_before} by an earlier run (--again sends them again)" if tally.sent_before else ""
    typer.echo(f"sent: {tally.sent}{before}")
    if unreadable.lines:
        over = f", {tally.passed_over} passed over" if tally.passed_over else ""
        typer.echo(f"unreadable: {tally.unreadable}{over}: see {unreadable.path}")
    if not_sent.lines:
        typer.echo(f"not sent: {tally.not_sent}: see {not_sent.path}")
