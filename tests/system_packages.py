"""Installs the Debian packages that the tests use as real peers, where they are missing and where it may.

Run by ``make test``. Needs root (or sudo without a password) only when something is missing; says what to run where it
may not install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "storescu": "dcmtk",
    "Orthanc": "orthanc",
    "gdcmconv": "libgdcm-tools",
    "dciodvfy": "dicom3tools",
    "chromium": "chromium",
    "strace": "strace",
    "sslscan": "sslscan",
    "mkfs.xfs": "xfsprogs",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
}
FILES = {
    "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so": "orthanc-postgresql",
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so": "orthanc-dicomweb",
}
SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


def missing() -> list[str]:
    """The Debian packages whose program or file is not here."""
    programs = {package for program, package in PROGRAMS.items() if shutil.which(program, path=SEARCHED) is None}
    files = {package for file, package in FILES.items() if not Path(file).exists()}
    return sorted(programs | files)


def install(packages: list[str]) -> int:
    """Installs ``packages`` without starting any service of theirs; the exit code."""
    with_rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None or (with_rights and shutil.which("sudo") is None):
        return unable(packages)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    policy = Path("/usr/sbin/policy-rc.d")
    forbids_starting = not with_rights and not policy.exists()
    if forbids_starting:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        if subprocess.run([*with_rights, "apt-get", "update", "-qq"], check=False).returncode != 0:
            print("tests: the package lists could not be brought up to date; trying with those here", file=sys.stderr)
        print(f"tests: installing {' '.join(packages)}", file=sys.stderr)
        done = subprocess.run([*with_rights, *environment, *command], stdout=subprocess.DEVNULL, check=False)
    finally:
        if forbids_starting:
            policy.unlink()
    return 0 if done.returncode == 0 and not missing() else unable(missing() or packages)


def unable(packages: list[str]) -> int:
    print(
        f"tests: these Debian packages are needed and could not be installed here: {' '.join(packages)}\n"
        f"tests: run this as an administrator, then again `make test`: apt-get install {' '.join(packages)}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    wanted = missing()
    sys.exit(install(wanted) if wanted else 0)
