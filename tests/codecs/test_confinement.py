"""What a codec's process may do: nothing but to read and write what it is given (reliability D20)."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.codecs.transcoder import Transcoder
from domain.limits import Limits
from domain.transcoding import JPEG_LS
from tests.codecs.pictures import made, saved, transcoded

_TRIES = """
import os, socket, sys
from adapters.codecs.confinement import confine
from domain.limits import Limits
confine(Limits())
try:
    {what}
except PermissionError:
    sys.exit(0)
sys.exit("it may")
"""


@pytest.mark.parametrize(
    "what",
    [
        "open('/etc/passwd')",
        "open('/tmp/written', 'w')",
        "os.unlink('/tmp/nothing')",
        "os.rename('/tmp/nothing', '/tmp/something')",
        "socket.socket()",
        "socket.socketpair()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.pidfd_open(os.getppid())",
    ],
)
def test_D20_a_confined_process_opens_no_file_no_socket_and_touches_no_other_process(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TRIES.format(what=what)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("said", [b"", json.dumps(dataclasses.asdict(Limits())).encode()], ids=["nothing", "limits"])
def test_D20_a_child_whose_parent_ends_before_it_is_ready_ends_without_a_word(said: bytes) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, ours:
        if said:
            ours.send(said)
        ours.close()
        done = subprocess.run(
            [sys.executable, "-m", "adapters.codecs.child"],
            stdin=its.fileno(),
            capture_output=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_D20_a_running_child_is_confined_and_limited(transcoder: Transcoder, tmp_path: Path) -> None:
    transcoded(transcoder, saved(made(), tmp_path / "source.dcm"), JPEG_LS)
    child = Path(f"/proc/{transcoder._workers.processes()[0]}")
    state = dict(line.split(":\t", 1) for line in (child / "status").read_text().splitlines())
    assert (state["NoNewPrivs"], state["Seccomp"]) == ("1", "2")
    limits = (child / "limits").read_text()
    memory = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert memory.split()[3:5] == [str(Limits().codec_memory_max)] * 2
