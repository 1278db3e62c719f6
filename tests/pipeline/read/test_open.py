"""Open a sealed store with xarray."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.pipeline.read.open import open_dataset


class TestADataset:
    def test_it_pickles_to_other_processes(self, geo_store: Any) -> None:
        import pickle

        again = pickle.loads(pickle.dumps(open_dataset(geo_store.path)))
        np.testing.assert_array_equal(again.image.values, geo_store.image)
