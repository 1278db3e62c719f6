"""WADO-RS: instances are the bytes of an export, frames the samples of a store."""

from __future__ import annotations

import email.parser
import email.policy
import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from starlette.testclient import TestClient

import tilepress

from .conftest import Made

CT = "studies/1.2.1/series/1.2.1.5/instances/1.2.1.5.2"
CINE = "studies/1.2.2/series/1.2.2.1/instances/1.2.2.1.1"
JPEG = "studies/1.2.2/series/1.2.2.2/instances/1.2.2.2.1"
BIG = "studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
SLIDE = "studies/1.2.4/series/1.2.4.1/instances/1.2.4.1.1"

AS_KEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'
EXPLICIT = "1.2.840.10008.1.2.1"


def parts_of(client: TestClient, address: str, accept: str) -> list[tuple[str, bytes]]:
    """Return content type and content of the parts of an answer, as the standard library cuts."""
    answer = client.get(address, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    assert message.is_multipart()
    found = []
    for part in message.iter_parts():
        assert part["content-location"].startswith("http://127.0.0.1:8000/dicom-web/studies/")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        kind = str(part["content-type"]).replace('"', "")  # which the parser puts there
        found.append((kind, _raw(answer.content, len(found))))
    return found


def _raw(content: bytes, number: int) -> bytes:
    """Return a part without what a parser of mail does to the ends of lines."""
    boundary = content[: content.index(b"\r\n")]
    part = content.split(boundary)[number + 1]
    return part[part.index(b"\r\n\r\n") + 4 : -2]


class TestInstances:
    @pytest.mark.parametrize("level", [1, 2, 3])
    def test_are_the_bytes_of_an_export(
        self, dicomweb: TestClient, exported: dict[str, bytes], level: int
    ) -> None:
        """By study, series and instance: every file of the archive, once."""
        seen = {}
        for model in dicomweb.get("instances").json():
            names = [model[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
            kinds = ("studies", "series", "instances")
            address = "/".join(f"{k}/{n}" for k, n in zip(kinds, names[:level], strict=False))
            for kind, content in parts_of(dicomweb, address, AS_KEPT):
                ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
                syntax = ds.file_meta.TransferSyntaxUID
                assert kind == f"application/dicom; transfer-syntax={syntax}"
                seen[str(ds.SOPInstanceUID)] = content
        assert seen == exported
        assert len(seen) == 9

    def test_of_a_lossless_store_are_the_files(self, dicomweb: TestClient, made: Made) -> None:
        for address, path in ((CT, made.ct[1]), (JPEG, made.jpeg), (BIG, made.big)):
            ((_, content),) = parts_of(dicomweb, address, AS_KEPT)
            assert content == path.read_bytes()
            answer = dicomweb.get(
                address, headers={"accept": "application/dicom; transfer-syntax=*"}
            )
            assert answer.content == path.read_bytes()

    def test_of_a_lossy_store_say_what_was_lost(self, dicomweb: TestClient) -> None:
        ((_, content),) = parts_of(dicomweb, "studies/1.2.1/series/1.2.1.6", AS_KEPT)
        ds = pydicom.dcmread(io.BytesIO(content))
        assert ds.LossyImageCompression == "01"
        assert ds.SOPInstanceUID != "1.2.1.6.1"
        (model,) = dicomweb.get("studies/1.2.1/series/1.2.1.6/metadata").json()
        assert model["00282110"]["Value"] == ["01"]
        assert model["00080018"]["Value"] == [ds.SOPInstanceUID]
        address = f"studies/1.2.1/series/1.2.1.6/instances/{ds.SOPInstanceUID}"
        assert dicomweb.get(address).status_code == 200
        assert dicomweb.get("studies/1.2.1/series/1.2.1.6/instances/1.2.1.6.1").status_code == 404

    @pytest.mark.parametrize("accept", ['multipart/related; type="application/dicom"', None])
    @pytest.mark.parametrize(
        ("address", "path"), [(CT, "a/1.dcm"), (CINE, "b/cine.dcm"), (JPEG, "b/jpeg.dcm")]
    )
    def test_are_explicit_little_endian_unless_asked(
        self, dicomweb: TestClient, made: Made, address: str, path: str, accept: str | None
    ) -> None:
        asked = accept or f"application/dicom; transfer-syntax={EXPLICIT}"
        answer = dicomweb.get(address, headers={"accept": asked})
        content = answer.content if accept is None else _raw(answer.content, 0)
        ds = pydicom.dcmread(io.BytesIO(content))
        original = pydicom.dcmread(made.cine.parent.parent / path)
        assert ds.file_meta.TransferSyntaxUID == EXPLICIT
        assert not ds.is_implicit_VR
        assert ds.PatientName == original.PatientName
        names = [e.tag for e in original if e.tag.group != 0x7FE0]
        assert [e.tag for e in ds if e.tag.group != 0x7FE0] == names
        np.testing.assert_array_equal(pixel_array(ds, raw=True), pixel_array(original, raw=True))

    @pytest.mark.parametrize(
        ("address", "accept", "status"),
        [
            (BIG, 'multipart/related; type="application/dicom"', 406),
            (BIG, "application/dicom; transfer-syntax=1.2.840.10008.1.2.2", 200),
            (JPEG, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50", 200),
            (JPEG, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", 406),
            (CT, "application/dicom; transfer-syntax=1.2.840.10008.1.2", 200),
            ("studies/1.2.1", "application/dicom", 406),
            ("studies/1.2.1", "*/*", 200),
            (CT, "image/png", 406),
            (CT, 'multipart/related; type="image/jpeg"', 406),
        ],
    )
    def test_in_what_else_is_406(
        self, dicomweb: TestClient, address: str, accept: str, status: int
    ) -> None:
        assert dicomweb.get(address, headers={"accept": accept}).status_code == status

    def test_one_that_is_not_there(self, dicomweb: TestClient) -> None:
        for address in (f"{CT}.9", "studies/1.2.2/series/1.2.1.5", "studies/9"):
            assert dicomweb.get(address).status_code == 404
            assert dicomweb.get(f"{address}/metadata").status_code == 404


class TestMetadata:
    def test_is_the_header(self, dicomweb: TestClient, made: Made) -> None:
        found = dicomweb.get("studies/1.2.1/series/1.2.1.5/metadata").json()
        assert len(found) == 4
        ds = pydicom.dcmread(made.ct[1])
        model = next(m for m in found if m["00080018"]["Value"] == [ds.SOPInstanceUID])
        read = pydicom.Dataset.from_json(model, lambda *_: b"")
        assert read.PatientName == ds.PatientName
        assert read.ImagePositionPatient == ds.ImagePositionPatient
        assert read.RequestAttributesSequence[0].ScheduledProcedureStepID == "STEP"
        assert model["00083002"]["Value"] == ["1.2.840.10008.1.2"]
        assert {e.tag for e in ds} - {e.tag for e in read} == set()

    def test_refers_to_bulk_data(self, dicomweb: TestClient, made: Made) -> None:
        (model,) = dicomweb.get(f"{CT}/metadata").json()
        uri = model["00111001"]["BulkDataURI"]
        want = bytes(range(256)) * 8
        assert dicomweb.get(uri, headers={"accept": "application/octet-stream"}).content == want
        assert parts_of(dicomweb, uri, OCTETS)[0][1] == want
        uri = model["7FE00010"]["BulkDataURI"]
        assert parts_of(dicomweb, uri, OCTETS)[0][1] == pydicom.dcmread(made.ct[1]).PixelData
        for path in ("00100010", "7FE00011", "0040A730/0/00111001", "x", "00111001/0/", "%2e%2e/x"):
            assert dicomweb.get(f"{CT}/bulkdata/{path}").status_code == 404, path

    def test_of_a_whole_study(self, dicomweb: TestClient) -> None:
        assert len(dicomweb.get("studies/1.2.1/metadata").json()) == 5


class TestFrames:
    def test_are_the_samples(self, dicomweb: TestClient, made: Made) -> None:
        for address, path in ((CINE, made.cine), (CT, made.ct[1]), (BIG, made.big)):
            pixels = pydicom.dcmread(path).pixel_array
            frames = pixels if pixels.ndim == 3 else pixels[np.newaxis]
            numbers = list(range(len(frames)))[::-1]
            asked = ",".join(str(n + 1) for n in numbers)
            found = parts_of(dicomweb, f"{address}/frames/{asked}", OCTETS)
            assert len(found) == len(numbers)
            for number, (kind, content) in zip(numbers, found, strict=True):
                assert kind == f"application/octet-stream; transfer-syntax={EXPLICIT}"
                little = frames[number].astype(frames.dtype.newbyteorder("<"))
                assert content == little.tobytes()

    @pytest.mark.parametrize(("address", "name"), [(JPEG, "jpeg"), (SLIDE, "slide")])
    def test_are_the_streams_where_those_are_kept(
        self, dicomweb: TestClient, made: Made, address: str, name: str
    ) -> None:
        ds = pydicom.dcmread(getattr(made, name))
        streams = list(generate_frames(ds.PixelData, number_of_frames=ds.NumberOfFrames))
        asked = ",".join(str(n + 1) for n in range(len(streams)))
        for accept in (
            'multipart/related; type="image/jpeg"',
            "multipart/related; type=image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50",
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "*/*",
        ):
            found = parts_of(dicomweb, f"{address}/frames/{asked}", accept)
            assert [content for _, content in found] == streams
            assert {kind.partition(";")[0] for kind, _ in found} == {"image/jpeg"}

    def test_of_a_slide_are_its_tiles(self, dicomweb: TestClient, made: Made) -> None:
        ds = pydicom.dcmread(made.slide)
        (store,) = made.archive.glob("SM-*.zarr")
        image = tilepress.open(store).image.values
        found = parts_of(dicomweb, f"{SLIDE}/frames/6", OCTETS)
        assert ds.NumberOfFrames == 12
        tile = np.frombuffer(found[0][1], np.uint8).reshape(16, 16, 3)
        np.testing.assert_array_equal(np.moveaxis(tile, -1, 0), image[:, 16:32, 16:32])

    def test_alone(self, dicomweb: TestClient, made: Made) -> None:
        answer = dicomweb.get(f"{CINE}/frames/3", headers={"accept": "application/octet-stream"})
        assert answer.content == pydicom.dcmread(made.cine).pixel_array[2].tobytes()
        answer = dicomweb.get(f"{JPEG}/frames/1", headers={"accept": "image/jpeg"})
        assert np.asarray(imagecodecs.jpeg8_decode(answer.content)).shape == (48, 64, 3)

    @pytest.mark.parametrize(
        ("address", "accept", "status"),
        [
            (f"{CINE}/frames/0", OCTETS, 404),
            (f"{CINE}/frames/6", OCTETS, 404),
            (f"{CINE}/frames/-1", OCTETS, 400),
            (f"{CINE}/frames/1,,2", OCTETS, 400),
            (f"{CINE}/frames/1;2", OCTETS, 400),
            (f"{CINE}/frames/99999999999", OCTETS, 400),
            (f"{CINE}/frames/" + "1," * 10_000 + "1", OCTETS, 400),
            (f"{CINE}/frames/1,2", "application/octet-stream", 406),
            (f"{CINE}/frames/1", 'multipart/related; type="image/jpeg"', 406),
            (f"{CINE}/frames/1", f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.50", 406),
            (f"{CINE}/frames/1", "video/mp4", 406),
        ],
    )
    def test_that_make_no_sense(
        self, dicomweb: TestClient, address: str, accept: str, status: int
    ) -> None:
        assert dicomweb.get(address, headers={"accept": accept}).status_code == status
