"""The data folder of the embedded server: made once, of one version, open to the accounts that may use it."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from adapters.postgres.binaries import Account
from domain.errors import Unavailable

ROLE = "annals"
"""The database role of everybody who may connect."""


def prepare(data: Path, account: Account, programs: Path) -> None:
    """Make the folder where there is none, and have the kernel's word for who connects (peer authentication).

    Raises Unavailable where it cannot be made, or is another version's.
    """
    if not (data / "PG_VERSION").exists():
        _initialise(data, account, programs)
    have = (data / "PG_VERSION").read_text("ascii").strip()
    want = account.run([str(programs / "postgres"), "--version"]).stdout.split()[2].split(".")[0]
    if have != want:
        raise Unavailable(
            f"{data} was made by PostgreSQL {have} and these programs are {want}: "
            f"upgrade it with pg_upgrade (programs of both versions lie beside it), then start again"
        )
    _map_accounts(data, account)


def _initialise(data: Path, account: Account, programs: Path) -> None:
    for half_made in data.parent.glob("data.new-*"):
        shutil.rmtree(half_made)
    fresh = data.with_name(f"data.new-{os.getpid()}")
    fresh.mkdir(mode=0o700)
    account.own(fresh)
    made = account.run(
        [
            str(programs / "initdb"),
            *("-D", str(fresh), "-U", ROLE, "--auth=reject", "-E", "UTF8"),
            *("--locale=C.UTF-8", "--data-checksums", "--no-instructions"),
        ]
    )
    if made.returncode:
        raise Unavailable(f"the database could not be made in {fresh}: {made.stderr.strip()[-400:]}")
    (fresh / "pg_hba.conf").write_text("local all all peer map=app\nlocal replication all peer map=app\n", "ascii")
    os.sync()
    fresh.rename(data)
    for folder in (data.parent, data.parent.parent):
        _sync(folder)


def _map_accounts(data: Path, account: Account) -> None:
    ours = pwd.getpwuid(os.geteuid()).pw_name
    names = {ours, account.user.pw_name if account.user else ours}
    lines = "".join(f"app {name} {ROLE}\n" for name in sorted(names))
    (data / "pg_ident.conf").write_text(lines, "utf-8")


def _sync(folder: Path) -> None:
    """Make the names in a folder survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
