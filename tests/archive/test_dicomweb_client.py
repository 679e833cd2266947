"""Every public method of dicomweb-client against one archive (WEB-1): a caller of another maker, as viewers use it."""

from __future__ import annotations

import inspect
import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.archive import samples
from tests.archive.conftest import SMALL, Archive, running_archive
from tests.ports import free_port

_FRAMES, _CT = (samples.SAMPLES / name for name in ("SC_rgb_rle_2frame.dcm", "CT_small.dcm"))
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n")


@dataclass(frozen=True)
class Site:
    """A running archive, a client of it, and what was stored by that client."""

    archive: Archive
    client: DICOMwebClient
    frames: Dataset
    ct: Dataset
    served: frozenset[str]

    @property
    def one(self) -> tuple[str, str, str]:
        return _uids(self.frames)


def _uids(image: Dataset) -> tuple[str, str, str]:
    return image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    port = free_port()
    # The client's Host header has no port, so what it is told of URLs must not come from there.
    public = {"ANNALS_DICOMWEB__PORT": str(port), "ANNALS_DICOMWEB__PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with running_archive({**SMALL, **public}) as archive:
        url = f"http://127.0.0.1:{port}/dicom-web"
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=60) as said:
            paths = json.load(said)["paths"]
        served = frozenset(re.sub(r"{\w+}", "*", path.removeprefix("/dicom-web")) for path in paths)
        client = DICOMwebClient(url)
        client.set_http_retry_params(retry=False)
        frames, ct = dcmread(_FRAMES), dcmread(_CT)
        stored = client.store_instances([frames, ct])
        assert {one.ReferencedSOPInstanceUID for one in stored.ReferencedSOPSequence} == {
            frames.SOPInstanceUID,
            ct.SOPInstanceUID,
        }
        yield Site(archive, client, frames, ct, served)


def _is_the_object(found: Dataset, stored: Dataset) -> bool:
    return bool(
        found.SOPInstanceUID == stored.SOPInstanceUID
        and found.PatientName == stored.PatientName
        and (found.pixel_array == stored.pixel_array).all()
    )


def _search_for_studies(site: Site) -> None:
    found = site.client.search_for_studies(
        fuzzymatching=True, search_filters={"PatientName": "CompresedSamples"}, fields=["StudyDescription", "00080020"]
    )
    assert [one["0020000D"]["Value"] for one in found] == [[site.ct.StudyInstanceUID]]
    assert "00081030" in found[0]
    assert len(site.client.search_for_studies(limit=1, get_remaining=True)) == 2
    assert site.client.search_for_studies(limit=5, offset=2) == []


def _search_for_series(site: Site) -> None:
    assert len(site.client.search_for_series()) == 2
    found = site.client.search_for_series(site.ct.StudyInstanceUID, search_filters={"Modality": "CT"})
    assert [one["0020000E"]["Value"] for one in found] == [[site.ct.SeriesInstanceUID]]


def _search_for_instances(site: Site) -> None:
    study, series, instance = site.one
    assert len(site.client.search_for_instances()) == 2
    assert len(site.client.search_for_instances(study)) == 1
    found = site.client.search_for_instances(study, series, fields=["Rows"])
    assert [one["00080018"]["Value"] for one in found] == [[instance]]


def _data_sets(retrieve: Callable[[Site], Any]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        found = list(retrieve(site))
        assert len(found) == 1
        assert _is_the_object(found[0], site.frames)

    return check


def _metadata(retrieve: Callable[[Site], Any]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        found = retrieve(site)
        one = found if isinstance(found, dict) else found[0]
        assert one["00080018"]["Value"] == [site.frames.SOPInstanceUID]
        assert one["00280008"]["Value"] == [2]
        assert Dataset.from_json(one, lambda *_: b"").Rows == site.frames.Rows

    return check


def _bulk_data(retrieve: Callable[[Site, str], Sequence[bytes]]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        url = site.client.retrieve_instance_metadata(*_uids(site.ct))["7FE00010"]["BulkDataURI"]
        assert b"".join(retrieve(site, url)) == site.ct.PixelData

    return check


def _frames(retrieve: Callable[[Site], Any]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        pixels = site.frames.pixel_array
        assert list(retrieve(site)) == [pixels[1].tobytes(), pixels[0].tobytes()]

    return check


def _picture(retrieve: Callable[[Site], bytes]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        assert retrieve(site).startswith(_PICTURES)

    return check


def _refused(delete: Callable[[Site], None]) -> Callable[[Site], None]:
    def check(site: Site) -> None:
        with pytest.raises(requests.HTTPError) as refused:
            delete(site)
        assert refused.value.response.status_code in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_FOUND)
        assert len(site.client.search_for_instances(site.frames.StudyInstanceUID)) == 1

    return check


_STUDY, _SERIES, _INSTANCE = "/studies/*", "/studies/*/series/*", "/studies/*/series/*/instances/*"
_FRAME = f"{_INSTANCE}/frames/*"
_OCTETS = ("application/octet-stream",)

CALLS: dict[str, tuple[str, Callable[[Site], None]]] = {
    "search_for_studies": ("/studies", _search_for_studies),
    "search_for_series": ("/series", _search_for_series),
    "search_for_instances": ("/instances", _search_for_instances),
    "retrieve_study": (_STUDY, _data_sets(lambda site: site.client.retrieve_study(site.one[0]))),
    "iter_study": (_STUDY, _data_sets(lambda site: site.client.iter_study(site.one[0]))),
    "retrieve_series": (_SERIES, _data_sets(lambda site: site.client.retrieve_series(*site.one[:2]))),
    "iter_series": (
        _SERIES,
        _data_sets(lambda site: site.client.iter_series(*site.one[:2], media_types=(("application/dicom", "*"),))),
    ),
    "retrieve_instance": (_INSTANCE, _data_sets(lambda site: [site.client.retrieve_instance(*site.one)])),
    "retrieve_study_metadata": (
        f"{_STUDY}/metadata",
        _metadata(lambda site: site.client.retrieve_study_metadata(site.one[0])),
    ),
    "retrieve_series_metadata": (
        f"{_SERIES}/metadata",
        _metadata(lambda site: site.client.retrieve_series_metadata(*site.one[:2])),
    ),
    "retrieve_instance_metadata": (
        f"{_INSTANCE}/metadata",
        _metadata(lambda site: site.client.retrieve_instance_metadata(*site.one)),
    ),
    "retrieve_bulkdata": (
        f"{_INSTANCE}/metadata",
        _bulk_data(lambda site, url: site.client.retrieve_bulkdata(url, _OCTETS)),
    ),
    "iter_bulkdata": (
        f"{_INSTANCE}/metadata",
        _bulk_data(lambda site, url: list(site.client.iter_bulkdata(url, _OCTETS))),
    ),
    "retrieve_instance_frames": (
        _FRAME,
        _frames(lambda site: site.client.retrieve_instance_frames(*site.one, [2, 1], _OCTETS)),
    ),
    "iter_instance_frames": (
        _FRAME,
        _frames(lambda site: site.client.iter_instance_frames(*site.one, [2, 1], _OCTETS)),
    ),
    "retrieve_series_rendered": (
        f"{_SERIES}/rendered",
        _picture(lambda site: site.client.retrieve_series_rendered(*site.one[:2], media_types=("image/jpeg",))),
    ),
    "retrieve_instance_rendered": (
        f"{_INSTANCE}/rendered",
        _picture(
            lambda site: site.client.retrieve_instance_rendered(
                *_uids(site.ct), media_types=("image/png",), params={"window": "40,400,linear"}
            )
        ),
    ),
    "retrieve_instance_frames_rendered": (
        f"{_FRAME}/rendered",
        _picture(
            lambda site: site.client.retrieve_instance_frames_rendered(*site.one, [2], media_types=("image/jpeg",))
        ),
    ),
    "delete_study": ("/studies", _refused(lambda site: site.client.delete_study(site.one[0]))),
    "delete_series": ("/studies", _refused(lambda site: site.client.delete_series(*site.one[:2]))),
    "delete_instance": ("/studies", _refused(lambda site: site.client.delete_instance(*site.one))),
}
"""Each method with the resource that it needs, and what is expected of it."""

_ELSEWHERE = {"store_instances", "set_chunk_size", "set_http_retry_params", "lookup_keyword", "lookup_tag"}


@pytest.mark.parametrize("method", CALLS)
def test_WEB_1_each_method_of_the_client(site: Site, method: str) -> None:
    resource, call = CALLS[method]
    assert resource in site.served
    call(site)


def test_WEB_1_no_method_of_the_client_is_left_out() -> None:
    public = {name for name, _ in inspect.getmembers(DICOMwebClient, callable) if not name.startswith("_")}
    assert public == CALLS.keys() | _ELSEWHERE
