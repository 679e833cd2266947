"""The child process that decodes and encodes: limited, without network, fed over a socket (reliability D20, F45).

A message: some requests as JSON with the descriptors of each; the answer is JSON too. It ends when its parent does, or
when it is idle for long.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

from adapters.codecs.confinement import confine
from domain.limits import Limits

MESSAGE_MAX = 64 * 1024
DESCRIPTORS_MAX = 64
READY = b"ready"
"""What a child says first, when it is confined."""

_DESCRIPTOR = struct.Struct("i")


def main() -> None:
    """Serve the parent at the other end of standard input."""
    parent = socket.socket(fileno=os.dup(0))
    # A parent that is gone is no fault, and nobody is left to be told.
    with contextlib.suppress(ConnectionError):
        if said := parent.recv(MESSAGE_MAX):
            _serve(parent, Limits(**json.loads(said)))


def _serve(parent: socket.socket, limits: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answered = _load()
    # What is loaded stays: it need not be looked through for garbage.
    gc.freeze()
    confine(limits)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    parent.sendall(READY)
    parent.settimeout(limits.codec_idle_seconds)
    room = socket.CMSG_LEN(DESCRIPTORS_MAX * _DESCRIPTOR.size)
    while True:
        try:
            message, passed, _, _ = parent.recvmsg(MESSAGE_MAX, room)
        except TimeoutError:
            return
        if not message:
            return
        descriptors = [descriptor for _, _, data in passed for (descriptor,) in _DESCRIPTOR.iter_unpack(data)]
        rest = iter(descriptors)
        try:
            answers = answered([(one, [*islice(rest, count)]) for one, count in json.loads(message)], limits)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        parent.send(json.dumps(answers).encode())


def _load() -> Callable[[list[tuple[dict[str, Any], list[int]]], Limits], list[dict[str, Any]]]:
    """Load all that will ever be needed, afterwards no file can be opened; what performs a request."""
    import imagecodecs
    from pydicom.charset import python_encoding

    for library in ("jpeg8", "jpegls", "jpeg2k", "htj2k", "png", "gif", "cms"):
        _ = getattr(imagecodecs, library.upper()).available
    for module in (
        "rle.rle",
        "jpeg_ls.CharLS",
        "numpy.ma",
        "pydicom.datadict",
    ):
        importlib.import_module(module)
    for encoding in set(python_encoding.values()):
        codecs.lookup(encoding)
    from adapters.codecs.requests import answered

    return answered


def _end_with(parent: socket.socket) -> None:
    poll = select.poll()
    poll.register(parent.fileno(), select.POLLRDHUP)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
