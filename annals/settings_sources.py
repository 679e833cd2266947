"""Where the settings' values stand: in ``annals.toml``, over it in the environment (``ANNALS_SECTION__KEY``)."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from adapters.files import failpoints
from annals.supervisor import LIFELINE_VARIABLE, SOCKETS_VARIABLE
from annals.toml_lines import UNREADABLE, KeyLines, KeyPath, open_since

PREFIX = "ANNALS_"
_OPTIONS = ("ANNALS_CFG", "ANNALS_DATA")
_OF_TESTS = ("ANNALS_SEED", "ANNALS_SOAK")
_NO_SETTINGS = {*_OPTIONS, *_OF_TESTS, LIFELINE_VARIABLE, SOCKETS_VARIABLE, failpoints.VARIABLE}


class Sources:
    """The values as they are given, what is already wrong or doubtful with them, and where each stands."""

    def __init__(self, file: Path | None, environment: Mapping[str, str]) -> None:
        self.values: dict[str, Any] = {}
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self._file = file
        self._text = ""
        self._variables: dict[KeyPath, str] = {}
        if file:
            self._take_file(file)
        self._take(environment)

    def where(self, path: KeyPath) -> str:
        """The variable that gives a setting, else its key with the file and the line."""
        for length in range(len(path), 0, -1):
            if variable := self._variables.get(path[:length]):
                return variable
        key = ".".join(str(part) for part in path)
        line = self._lines.of(path)
        return f"{key} in {self._file}, line {line}" if line else key

    def meant(self, path: KeyPath, names: Mapping[str, Collection[str]]) -> str:
        """What is asked of a name that is no setting's: the nearest that is one; nothing where none is near."""
        variable = self.where(path)
        is_variable = variable in self._variables.values()
        if is_variable:
            section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        else:
            section, key = str(path[0]), str(path[1]) if len(path) > 1 else ""
        near = _nearest(section, names)
        if near and key:
            near = ".".join((near, found)) if (found := _nearest(key, names[near])) else ""
        if is_variable:
            near = near and f"{PREFIX}{near.replace('.', '__')}".upper()
        return near and f": is {near} meant?"

    @cached_property
    def _lines(self) -> KeyLines:
        return KeyLines(self._text)

    def _take_file(self, file: Path) -> None:
        content = b""
        try:
            content = file.read_bytes()
            mode = file.stat().st_mode
            text = content.decode()
        except (OSError, UnicodeDecodeError) as error:
            line = f", on line {_line_at(content, error.start)}" if isinstance(error, UnicodeDecodeError) else ""
            self.faults.append(f"--cfg {file}: cannot be read: {error}{line}")
            return
        if mode & stat.S_IROTH and "dsn" in text:
            self.warnings.append(f"{file} is readable by everyone and names a database: chmod 600 it")
        try:
            self.values = tomllib.loads(text)
        except UNREADABLE as error:
            line = "" if "(at line" in str(error) else f", in what begins on line {open_since(text)}"
            self.faults.append(f"--cfg {file}: {error}{line}")
            return
        self._text = text

    def _take(self, environment: Mapping[str, str]) -> None:
        for name, text in sorted(environment.items()):
            if not name.startswith(PREFIX) or "__" not in name:
                continue
            section, _, key = name.removeprefix(PREFIX).lower().partition("__")
            self._variables[section, key] = name
            if section not in self.values:
                self._variables[(section,)] = name
            group = self.values.setdefault(section, {})
            if isinstance(group, dict):
                group[key] = text


def _nearest(name: str, names: Collection[str]) -> str:
    return next(iter(get_close_matches(name, names, 1)), "")


def _line_at(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def passed_over(environment: Mapping[str, str], settings: Mapping[str, Collection[str]]) -> list[str]:
    """What is to be said of variables that look like settings and are none. ``settings``: the keys of each section.

    They are no faults: where a service is named annals, Kubernetes gives ``ANNALS_PORT`` to all that runs beside it.
    """
    meant = {
        f"{PREFIX}{section}_{key}".upper(): f"{PREFIX}{section}__{key}".upper()
        for section, keys in settings.items()
        for key in keys
    }
    return [
        f"{name} is no setting and is passed over: "
        + (f"is {meant[name]} meant?" if name in meant else f"settings are named {PREFIX}SECTION__KEY")
        for name in sorted(environment)
        if name.startswith(PREFIX) and "__" not in name and name not in _NO_SETTINGS
    ]
