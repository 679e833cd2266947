"""Makes the ready build of the OHIF viewer, which expects to stand at a server's root, fit below ``/ohif``.

``python -m ui.ohif FOLDER`` changes the build in that folder; run by ``make ohif``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PREFIX = "/ohif/"
_ROOTED = re.compile(r'(\b(?:href|src|content)=")/(?!/)')
_SERVICE_WORKER = re.compile(r'<script[^>]*/init-service-worker\.js"></script>')
_PUBLIC_URL = 'window.PUBLIC_URL="/"'
_ROOT_IN = {"*.js": (b'__webpack_require__.p = "', b'/";'), "*.css": (b"url(", b"/")}
"""What stands before the root in the build's files of a kind, and how it goes on."""


def fit(folder: Path) -> None:
    """Change the page and the scripts. Raises OSError, and ValueError where the build is not of the known form."""
    page = (folder / "index.html").read_text("utf-8")
    changed = [
        file
        for pattern, (before, after) in _ROOT_IN.items()
        for file in folder.glob(pattern)
        if _replaced(file, before + after, before + PREFIX.rstrip("/").encode() + after)
    ]
    if not changed or _PUBLIC_URL not in page:
        raise ValueError(f"{folder} holds no build of the viewer that is known here")
    # A service worker would go on to give out what is no longer served.
    page = _SERVICE_WORKER.sub("", page).replace(_PUBLIC_URL, f'window.PUBLIC_URL="{PREFIX}"')
    (folder / "index.html").write_text(_ROOTED.sub(rf"\1{PREFIX}", page), "utf-8")


def _replaced(file: Path, old: bytes, new: bytes) -> bool:
    text = file.read_bytes()
    if old not in text:
        return False
    file.write_bytes(text.replace(old, new))
    return True


if __name__ == "__main__":
    fit(Path(sys.argv[1]))
