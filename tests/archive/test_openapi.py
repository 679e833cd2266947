"""Requests made from the OpenAPI description, meant well and ill: none ends in a 500, all answers are described."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from api.dicomweb.media_types import MULTIPART_RELATED
from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive
from tests.archive.openapi_hooks import BOUNDARY
from tests.archive.samples import Sample

_NAMES = ("SC_rgb_rle_2frame.dcm", "CT_small.dcm", "test-SR.dcm")
_CHECKS = "not_a_server_error,content_type_conformance,status_code_conformance,response_schema_conformance"
_ROOT = Path(__file__).parent.parent.parent
_SECONDS = 300 if os.environ.get("ANNALS_SOAK") else 14


@pytest.fixture(scope="module")
def sent() -> list[Sample]:
    return [one for one in map(samples.read, (samples.SAMPLES / name for name in _NAMES)) if one]


@pytest.fixture(scope="module")
def archive(sent: Sequence[Sample]) -> Iterator[Archive]:
    with running_archive(SMALL) as running:
        assert {samples.send(running.port, one)[0] for one in sent} == {0}
        yield running


@pytest.fixture(scope="module")
def description(archive: Archive) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{archive.dicomweb_port}/dicom-web/openapi.json", timeout=60) as said:
        found: dict[str, Any] = json.load(said)
    return found


def _aimed(description: dict[str, Any], sent: Sequence[Sample]) -> dict[str, Any]:
    """The description with the UIDs of an object that is there, so that what is behind them is reached."""
    one = sent[0]
    real = {
        "study_uid": one.study_instance_uid,
        "series_uid": one.series_instance_uid,
        "instance_uid": one.sop_instance_uid,
    }
    aimed: dict[str, Any] = json.loads(json.dumps(description))
    for path in aimed["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in real:
                    parameter["schema"] = {"type": "string", "enum": [real[parameter["name"]]]}
            content = operation.get("requestBody", {}).get("content", {})
            if MULTIPART_RELATED in content:
                named = f'{MULTIPART_RELATED}; type="application/dicom"; boundary={BOUNDARY}'
                content[named] = content.pop(MULTIPART_RELATED)
    return aimed


@pytest.mark.soak
@pytest.mark.parametrize("aimed", [True, False])
@pytest.mark.timeout(900)
def test_WEB_1_no_request_of_the_description_ends_in_a_500(
    archive: Archive, description: dict[str, Any], sent: Sequence[Sample], tmp_path: Path, aimed: bool
) -> None:
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(_aimed(description, sent) if aimed else description))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(schema)),
            *("--url", f"http://127.0.0.1:{archive.dicomweb_port}", "--checks", _CHECKS),
            *("--phases", "coverage,fuzzing", "--max-time", str(_SECONDS // 2), "--generation-database", "none"),
            *("--seed", "1", "--no-shrink", "--continue-on-failure", "--request-timeout", "30", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "SCHEMATHESIS_HOOKS": "tests.archive.openapi_hooks"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert archive.ready()
    assert "Traceback" not in archive.log_lines()
