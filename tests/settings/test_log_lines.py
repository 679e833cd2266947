"""What a peer or a file name puts into a message never leaves its line, and no line is lost for it (D25)."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from annals import roles, serving
from annals.log_lines import JsonLines
from annals.settings import Settings
from annals.supervisor import LIFELINE_VARIABLE


@pytest.mark.parametrize(
    "said",
    ['x\n{"level":"INFO"}', "\r\x1b[2J", "\0", "\x9b31m", "a\u2028b", "file-\udcff.dcm", "Müller"],
    ids=ascii,
)
def test_D25_a_message_stays_one_printable_line_whatever_is_in_it(said: str) -> None:
    record = logging.LogRecord("annals.test", logging.WARNING, __file__, 1, "refused: %s", (said,), None)
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"refused: {said}"


def test_D25_an_exception_is_told_by_its_type_and_place_and_never_by_what_it_holds() -> None:
    try:
        try:
            raise KeyError("Müller^Hans")
        except KeyError as error:
            raise ValueError("DETAIL: Key (Müller^Hans) exists") from error
    except ValueError:
        record = logging.LogRecord("annals.test", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    line = JsonLines().format(record)
    assert line.isprintable()
    assert "ller" not in json.loads(line)["exception"]
    assert json.loads(line)["exception"].startswith("Traceback: builtins.ValueError at ")
    assert "; after builtins.KeyError at " in line


def test_D25_an_error_that_nobody_foresaw_ends_a_role_with_one_log_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Müller^Hans")

    monkeypatch.setattr(roles, "run", fail)
    monkeypatch.setenv(LIFELINE_VARIABLE, "1")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        assert serving.serve(Settings(), "reader", None) == 70
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["exception"].startswith("Traceback: builtins.RuntimeError at ")
