"""Messages arrive as they were sent, and a forged one makes nothing but an error."""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import threading

import numpy as np
import pytest

from tilepress.pipeline.guests import wire
from tilepress.pipeline.image.format import FileImage, FileImages
from tilepress.pipeline.image.info import GeoReference, ImageInfo, MedicalGeometry
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.ranges import RemoteFile


@pytest.fixture
def link():
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def passed(link, value):
    ours, theirs = link
    sender = threading.Thread(target=wire.send, args=(ours, value))
    sender.start()
    found = wire.receive(theirs)
    sender.join()
    return found


VALUES = [
    None,
    True,
    0,
    -(2**80),
    1.5,
    math.inf,
    "text \n ü \udc80 \0",
    b"",
    b"\0\xff" * 70_000,
    [1, [2, (3, ())]],
    {"a": {"b": [b"x", b"y"]}},
    {"!b": 0, 1: 2, (3, 4): "tuple"},
    {"": 1},
    np.dtype(">u2"),
    SourceSpec(kind="dicom", paths=("/a", "/b"), options={"page": 1}, source_bytes=None),
    FileImages(images=(FileImage(kind="geotiff", options={"page": 2}),), problem="cut"),
    RemoteFile("s3://b/k", 3, '"e"', 7),
    GeoReference(crs_wkt="x", transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_arrives_as_it_was(link, value):
    found = passed(link, value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f8", "c16", "?", "M8[ns]"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_an_array_arrives_as_it_was(link, dtype, shape):
    sent = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    found = passed(link, sent)
    assert (found.dtype, found.shape, found.tobytes()) == (sent.dtype, sent.shape, sent.tobytes())
    assert found.flags.writeable


def test_nan_and_numpy_numbers_arrive(link):
    found = passed(link, [math.nan, np.float32("nan"), np.uint8(200), np.bool_(True)])
    assert [type(one) for one in found] == [float, np.float32, np.uint8, np.bool_]
    assert math.isnan(found[0])
    assert found[2] == 200


def test_what_is_told_of_an_image_arrives(link):
    sent = ImageInfo(
        name="x",
        axes=("z", "y", "x"),
        shape=(2, 3, 4),
        dtype=np.dtype("<i2"),
        nodata=-math.inf,
        medical=MedicalGeometry(pixel_spacing_mm=(0.5, 0.5)),
        attributes={"rescale_slope": 2.0, "list": [1, None]},
        coordinates={"z": np.array([0.0, 2.5])},
    )
    found = passed(link, sent)
    assert repr(found) == repr(sent)
    assert found.coordinates["z"].tobytes() == sent.coordinates["z"].tobytes()


@pytest.mark.parametrize("value", [object(), np.array([object()]), {1, 2}, ValueError("x")])
def test_what_is_no_data_is_not_sent(link, value):
    with pytest.raises(TypeError):
        wire.send(link[0], value)


def test_an_open_file_goes_along(link, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        wire.send(link[0], {"a": 1}, file.fileno())
    message, received = wire.receive_with_file(link[1])
    assert message == {"a": 1}
    assert os.read(received, 100) == b"content"
    os.close(received)


def test_a_message_without_a_file_says_so(link):
    wire.send(link[0], {"a": 1})
    assert wire.receive_with_file(link[1]) == ({"a": 1}, None)


def forged(text: bytes, blobs: bytes = b"", lengths=None) -> bytes:
    first, second = lengths or (len(text), len(blobs))
    return struct.pack("<QQ", first, second) + text + blobs


def saying(say: object, *sizes: int) -> bytes:
    return forged(json.dumps({"say": say, "blobs": list(sizes)}).encode(), b"x" * sum(sizes))


FORGED = [
    forged(b"no JSON"),
    forged(b"\xff\xfe"),
    forged(b"[" * 100_000),
    forged(b"{}"),
    forged(b'{"say":1}'),
    forged(b"", lengths=(2**40, 0)),
    forged(b"", lengths=(0, 2**60)),
    forged(b'{"say":{"!b":0},"blobs":[-1,2]}', b"x"),
    forged(b'{"say":{"!b":0},"blobs":[5]}', b"x"),
    saying({"!b": 3}),
    saying({"!b": "0"}, 1),
    saying({"!c": ["Popen", {"args": ["true"]}]}),
    saying({"!c": ["os.system", {}]}),
    saying({"!c": ["ImageInfo", {"no": 1}]}),
    saying({"!c": ["RemoteFile", []]}),
    saying({"!a": ["O", [1], 0]}, 8),
    saying({"!a": ["u1", [-1, 5], 0]}, 8),
    saying({"!a": ["u1", [2**62, 2**62], 0]}, 8),
    saying({"!y": "O"}),
    saying({"!y": {"x": 1}}),
    saying({"!d": [[[], 1]]}),
    saying({"!z": 1}),
]


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_a_forged_message_is_garbled(link, number):
    ours, theirs = link
    ours.sendall(FORGED[number])
    with pytest.raises(wire.Garbled):
        wire.receive(theirs)


@pytest.mark.parametrize("keep", [0, 5, 16, 20])
def test_a_cut_message_is_the_end(link, keep):
    ours, theirs = link
    ours.sendall(saying({"a": 1}, 4)[:keep])
    ours.close()
    with pytest.raises(EOFError):
        wire.receive(theirs)
