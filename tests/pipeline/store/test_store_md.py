"""STORE.md says what a store is: a reader that knows nothing else finds all of it so.

Nothing of the store's room is used here but the document; records are decoded as FORMAT.md says, by
the codec.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from numcodecs.zstd import Zstd

from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.store.kept import IRREVERSIBLE

from ...golden.stores import regenerate

KINDS = tuple(regenerate.CASES)
LOSSES = tuple(regenerate.BOUNDS)

Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "pipeline/store/STORE.md").read_text()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Tree]:
    folder = tmp_path_factory.mktemp("stores")
    for kind in KINDS:
        regenerate.unpack(regenerate.FOLDER / f"{kind}.tar.xz", folder / kind)

    def read(kind: str, loss: str) -> Tree:
        root = folder / kind / loss / f"{kind}.zarr"
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

    return read


@pytest.fixture(params=[f"{kind}-{loss}" for kind in KINDS for loss in LOSSES])
def store(request: pytest.FixtureRequest, stores: Callable[[str, str], Tree]) -> Tree:
    return stores(*request.param.split("-"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def auxiliary(store: Tree, key: str) -> bytes:
    """Return the bytes of an auxiliary array (§2)."""
    node = json.loads(store[f"{key}/zarr.json"])
    joined = b""
    for number in range(sum(name.startswith(f"{key}/c/") for name in store)):
        data = store[f"{key}/c/{number}"]
        assert struct.unpack("<I", data[-4:])[0] == google_crc32c.value(data[:-4])
        joined += bytes(Zstd().decode(data[:-4]))
    return joined[: math.prod(node["shape"])]


def manifest(store: Tree) -> tuple[dict[str, Any], dict[str, list[tuple[int, int, str, str]]]]:
    """Return the first line, and the rows by array (§5)."""
    line, _, rows = auxiliary(store, "manifest").partition(b"\n")
    header = json.loads(line)
    found = {}
    for array in header["arrays"]:
        count = math.prod(array["counts"])
        found[array["name"]] = [
            (*struct.unpack_from("<QQ", rows, 80 * n), rows[80 * n + 16 : 80 * n + 48].hex(),
             rows[80 * n + 48 : 80 * n + 80].hex())
            for n in range(count)
        ]  # fmt: skip
        rows = rows[80 * count :]
    assert rows == b""
    return header, found


def records(data: bytes, chunks: int) -> Iterator[bytes | None]:
    """Yield the records of a shard in C order of their chunks (§3.1)."""
    index = data[-16 * chunks - 4 : -4]
    assert struct.unpack("<I", data[-4:])[0] == google_crc32c.value(index)
    for offset, length in struct.iter_unpack("<QQ", index):
        yield None if offset == length == 2**64 - 1 else data[offset : offset + length]


def samples(store: Tree, name: str) -> dict[str, np.ndarray]:
    """Return the samples of every shard of a coded array by key, cut at the image (§3)."""
    node = json.loads(store[f"0/{name}/zarr.json"])
    (sharding,) = node["codecs"]
    (inner,) = sharding["configuration"]["codecs"]
    codec = TileCodec.from_config(inner["configuration"])
    shape, chunk = node["shape"], sharding["configuration"]["chunk_shape"]
    shard = node["chunk_grid"]["configuration"]["chunk_shape"]
    within = [s // c for s, c in zip(shard, chunk, strict=True)]
    found = {}
    for index in np.ndindex(*(-(-n // s) for n, s in zip(shape, shard, strict=True))):
        key = "/".join(["0", name, "c", *map(str, index)])
        whole = np.zeros(shard, node["data_type"])
        places = np.ndindex(*within)
        for place, record in zip(places, records(store[key], math.prod(within)), strict=True):
            start = [p * c for p, c in zip(place, chunk, strict=True)]
            inside = all(
                i * s + a < n for i, s, a, n in zip(index, shard, start, shape, strict=True)
            )
            assert (record is not None) == inside
            if record is not None:
                at = tuple(slice(a, a + c) for a, c in zip(start, chunk, strict=True))
                whole[at] = codec.decode(record).reshape(chunk)
        ends = (min(s, n - i * s) for i, s, n in zip(index, shard, shape, strict=True))
        found[key] = whole[tuple(slice(0, end) for end in ends)]
    return found


def table(document: str, title: str) -> list[list[str]]:
    """Return the rows of the table whose first column has that title."""
    lines = document.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def named(cells: list[list[str]]) -> list[str]:
    """Return what stands in backticks in the first column."""
    return [name for row in cells for name in re.findall(r"`([^`]+)`", row[0])]


class TestWhatADocumentReaderFinds:
    def test_the_seal(self, store: Tree):
        """§7, in a few lines."""
        root = store["zarr.json"]
        (seal,) = re.findall(rb'"seal":"([0-9a-f]{64})"', root)
        assert sha256(root.replace(seal, b"0" * 64)).encode() == seal

    def test_everything_from_the_seal_on(self, store: Tree):
        root = json.loads(store["zarr.json"])
        statement = root["attributes"]["tilepress"]
        assert sha256(auxiliary(store, "manifest")) == statement["manifest_sha256"]
        header, rows = manifest(store)
        assert header["version"] == statement["format_version"] == 1
        digests = {key: sha256(data) for key, data in store.items()}
        known = {key: digests[key] for key in header["documents"]}
        assert known == header["documents"]
        listed = {key: [len(store[key]), digests[key]] for key in header["files"]}
        assert listed == header["files"]
        shards = {}
        for name, entries in rows.items():
            for (key, found), (length, raw, whole, decoded) in zip(
                samples(store, name).items(), entries, strict=True
            ):
                assert (len(store[key]), digests[key]) == (length, whole)
                little = found.astype(found.dtype.newbyteorder("<")).tobytes()
                assert (len(little), sha256(little)) == (raw, decoded)
                shards[key] = length
        of_manifest = {key for key in store if key.startswith("manifest/c/")}
        assert {"zarr.json", *known, *listed, *shards, *of_manifest} == set(store)
        image = [bytes.fromhex(decoded) for _, _, _, decoded in rows["image"]]
        assert statement["source_digest"]["sha256"] == sha256(b"".join(image))
        assert statement["raw_bytes"] == sum(raw for _, raw, _, _ in rows["image"])
        assert statement["stored_bytes"] == sum(shards.values())

    def test_copies_of_all_documents(self, store: Tree):
        for group, prefix in (("zarr.json", ""), ("0/zarr.json", "0/")):
            below = json.loads(store[group])["consolidated_metadata"]
            assert (below["kind"], below["must_understand"]) == ("inline", False)
            for key, node in below["metadata"].items():
                own = json.loads(store[f"{prefix}{key}/zarr.json"])
                own.pop("consolidated_metadata", None)
                copied = node.pop("consolidated_metadata", {"metadata": {}})
                assert copied["metadata"] == {}
                assert node == own, key

    def test_no_white_space_and_nothing_but_json(self, store: Tree):
        for key, data in store.items():
            if key.endswith("zarr.json"):
                assert json.dumps(json.loads(data), separators=(",", ":")).encode() == data

    def test_the_order_of_records(self, store: Tree):
        """§3.1: records lie in Morton order, without gaps."""
        node = json.loads(store["0/image/zarr.json"])
        shard = node["chunk_grid"]["configuration"]["chunk_shape"]
        chunk = node["codecs"][0]["configuration"]["chunk_shape"]
        within = [s // c for s, c in zip(shard, chunk, strict=True)]
        bits = [(n - 1).bit_length() for n in within]

        def morton(place: tuple[int, ...]) -> int:
            digits = "".join(
                str(coordinate >> bit & 1)
                for bit in range(max(bits))
                for coordinate, count in zip(place, bits, strict=True)
                if bit < count
            )
            return int(digits[::-1] or "0", 2)

        for key in (key for key in store if key.startswith("0/image/c/")):
            index = store[key][-16 * math.prod(within) - 4 : -4]
            pairs = dict(zip(np.ndindex(*within), struct.iter_unpack("<QQ", index), strict=True))
            at = 0
            for place in sorted(pairs, key=morton):
                offset, length = pairs[place]
                if offset != 2**64 - 1:
                    assert offset == at
                    at += length
            assert at == len(store[key]) - len(index) - 4


class TestTheTablesOfTheDocument:
    def test_of_the_tree(self, store: Tree, document: str):
        patterns = [
            "^" + re.escape(name).replace("NAME", "[^/]+").replace("…", ".*") + "$"
            for name in named(table(document, "key"))
        ]
        assert all(any(re.match(pattern, key) for pattern in patterns) for key in store)
        tops = {name.split("/")[0] for name in named(table(document, "key"))}
        absent = {"signature.json", "1", "2"}  # nobody signed it, and it has no further levels
        assert {key.split("/")[0] for key in store} == tops - absent

    def test_of_the_manifest(self, store: Tree, document: str):
        header, _ = manifest(store)
        assert named(table(document, "key of the line")) == list(header)
        rows = table(document, "offset")
        assert [(int(offset), int(size)) for offset, size, _ in rows] == [
            (0, 8), (8, 8), (16, 32), (48, 32),
        ]  # fmt: skip

    def test_of_the_statement(self, store: Tree, document: str):
        """In order; what only lossy stores say is said by them."""
        begin = document.index("## 6. Statement")
        names = named(table(document[begin:], "key"))
        statement = json.loads(store["zarr.json"])["attributes"]["tilepress"]
        measured = {"max_error_measured", "psnr_db"}
        want = set(names) - (measured if statement["loss"]["lossless"] else set())
        want -= {IRREVERSIBLE, "loss_measured"}  # none of these has such streams, or is lossy
        assert set(statement) == want
        level = json.loads(store["0/zarr.json"])["attributes"]["tilepress"]
        assert set(level) == want - measured - set(names[-3:])

    def test_of_an_instance(self, stores: Callable[[str, str], Tree], document: str):
        origin = json.loads(auxiliary(stores("dicom", "lossless"), "source/origin"))
        names = set(named(table(document, "key of an instance")))
        assert all(set(one) == names for one in origin["instances"])

    def test_of_a_file(self, stores: Callable[[str, str], Tree], document: str):
        begin = document.index("### 8.2")
        names = set(named(table(document[begin:], "key")))
        for kind in ("geotiff", "stack"):
            found = stores(kind, "near")
            origin = json.loads(auxiliary(found, "source/origin"))
            for file in origin["files"]:
                record = json.loads(auxiliary(found, f"source/{file['item']}"))
                assert set(record) == names | {"version"}

    def test_of_the_ledger(self, document: str):
        from dataclasses import fields

        from tilepress.pipeline.archive.lease import Holder
        from tilepress.pipeline.store.manifest import ShardEntry

        begin = document.index("## 9. Beside the store")
        rows = {row[0]: row[1] for row in table(document[begin:], "key")}
        entry = next(text for key, text in rows.items() if "I.J.json" in key)
        lease = next(text for key, text in rows.items() if "lease.json" in key)
        inside = {"counts", "sums", "classes", "tiles", "exact"}  # of `measured`
        named = [name for name in re.findall(r"`(\w+)`", entry) if name not in inside]
        assert named == [field.name for field in fields(ShardEntry)]
        assert {field.name for field in fields(Holder)} <= set(re.findall(r"`(\w+)`", lease))


class TestASourceIsPutTogetherAgain:
    def test_of_dicom_files(self, stores: Callable[[str, str], Tree], tmp_path: Path):
        """§8.3, of native sixteen-bit words."""
        regenerate.unpack(regenerate.FOLDER / "sources.tar.xz", tmp_path)
        store = stores("dicom", "lossless")
        origin = json.loads(auxiliary(store, "source/origin"))
        header = io.BytesIO(auxiliary(store, "source/dicom-headers"))
        trailer = io.BytesIO(auxiliary(store, "source/dicom-trailers"))
        shape = json.loads(store["0/image/zarr.json"])["shape"]
        image = np.zeros(shape, np.uint16)
        shard = json.loads(store["0/image/zarr.json"])["chunk_grid"]["configuration"]["chunk_shape"]
        for key, found in samples(store, "image").items():
            index = [int(part) for part in key.split("/")[3:]]
            starts = [i * s for i, s in zip(index, shard, strict=True)]
            at = tuple(slice(a, a + n) for a, n in zip(starts, found.shape, strict=True))
            image[at] = found
        for one in origin["instances"]:
            pixels = one["pixels"]
            words = image[one["frames"]["start"]] << (pixels["high"] + 1 - pixels["stored"])
            assert one["patches"] == []
            made = (
                header.read(one["header_bytes"])
                + words.astype("<u2").tobytes()
                + trailer.read(one["trailer_bytes"])
            )
            assert made == (tmp_path / "series" / one["name"]).read_bytes()


class TestTheWorkedExample:
    @pytest.fixture
    def store(self, stores: Callable[[str, str], Tree]) -> Tree:
        return stores("array", "lossless")

    def test_its_objects(self, store: Tree, document: str):
        begin = document.index("## 11.")
        listed = {
            row[0].strip("`"): (int(row[1]), row[2].strip("`"))
            for row in table(document[begin:], "key")
        }
        assert listed == {key: (len(data), sha256(data)[:16]) for key, data in store.items()}

    def test_its_digests_and_rows(self, store: Tree, document: str):
        text = document[document.index("## 11.") :]
        statement = json.loads(store["zarr.json"])["attributes"]["tilepress"]
        for digest in (
            statement["seal"], statement["manifest_sha256"], statement["source_digest"]["sha256"],
        ):  # fmt: skip
            assert digest in text
        whole = auxiliary(store, "manifest")
        assert f"{len(whole)} bytes: {whole.index(10)} of JSON" in text
        quoted = re.findall(r"^    ([0-9a-f ]+?)(?:    |$)", text, re.MULTILINE)
        joined = bytes.fromhex("".join(quoted).replace(" ", ""))
        assert joined == whole[-80:] + store["0/image/c/0/0/0"][-68:]
        origin = auxiliary(store, "source/origin").decode()
        assert f"`{origin}`" in text
        assert f"`{store['source/origin/c/0'][-4:].hex()}`" in text
