"""Use the codec on arrays, without files: as an object, in zarr of version 3 and of version 2.

python examples/04_tile_codec.py
"""

import numpy as np
import zarr

import tilepress


def main() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:512, :512]
    tile = (900 + 200 * np.sin(x / 40) * np.cos(y / 55) + rng.normal(0, 4, x.shape)).astype("u2")

    codec = tilepress.TileCodec()
    record = codec.encode(tile)
    assert (codec.decode(record) == tile).all()
    print(f"lossless: {tile.nbytes:,} → {len(record):,} bytes")

    near = tilepress.TileCodec(max_error=2)
    record = near.encode(tile)
    worst = np.abs(near.decode(record).astype(int) - tile).max()
    print(f"within ±2: {len(record):,} bytes, largest difference {worst}")

    array = zarr.create_array(
        store=zarr.storage.MemoryStore(),
        shape=tile.shape,
        chunks=(256, 256),
        dtype=tile.dtype,
        serializer={"name": "tilepress.tile", "configuration": codec.to_config()},
        compressors=None,
        filters=None,
    )
    array[:] = tile
    print(f"in zarr 3: {array.nbytes_stored():,} bytes, equal: {(array[:] == tile).all()}")


if __name__ == "__main__":
    main()
