"""Code the tensors of a network, features or embeddings, within an error or for a PSNR.

python examples/05_feature_maps.py
"""

import numpy as np
import zarr

import tilepress


def main() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(8, 64, 64)).cumsum(axis=-1).cumsum(axis=-2)
    mixed = np.tensordot(rng.normal(size=(32, 8)), waves, axes=1)
    features = (mixed / mixed.std()).astype(np.float32)  # (channels, y, x)

    near = tilepress.TileCodec(max_error=0.01)
    decoded = near.decode(near.encode(features))
    assert np.abs(decoded - features).max() <= 0.01
    print(f"each value within 0.01: 1/{features.nbytes / len(near.encode(features)):.1f} of it")

    # all 32 channels belong together: a Karhunen-Loève transform finds what they have in common
    alike = tilepress.TileCodec("jpeg2000", psnr=50)
    record = alike.encode(features, bands=len(features))
    alone = alike.encode(features)
    error = np.square(alike.decode(record) - features).mean()
    psnr_db = 10 * np.log10(np.ptp(features) ** 2 / error)
    assert psnr_db >= 50
    print(f"at {psnr_db:.1f} dB: 1/{features.nbytes / len(record):.1f}, ", end="")
    print(f"each channel by itself 1/{features.nbytes / len(alone):.1f}")

    embeddings = rng.normal(size=(1000, 256)).astype(np.float32)  # a row each
    array = zarr.create_array(
        store=zarr.storage.MemoryStore(),
        shape=embeddings.shape,
        chunks=(250, 256),
        dtype=embeddings.dtype,
        serializer={"name": "tilepress.tile", "configuration": near.to_config()},
        compressors=None,
        filters=None,
    )
    array[:] = embeddings
    rows = np.asarray(array[500:510])  # reads one chunk, as any zarr does
    assert np.abs(rows - embeddings[500:510]).max() <= 0.01
    print(f"embeddings in zarr: 1/{embeddings.nbytes / array.nbytes_stored():.1f}")


if __name__ == "__main__":
    main()
