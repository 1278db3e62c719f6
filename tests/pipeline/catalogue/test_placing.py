"""An outline for what has control points or polynomials: the affine that fits them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tilepress.pipeline.catalogue.placing import fitted_place


def points(*places: tuple[float, float, float, float]) -> str:
    features = [
        {"properties": {"col": c, "row": r}, "geometry": {"coordinates": [x, y, 0]}}
        for c, r, x, y in places
    ]
    return json.dumps({"features": features})


def rpcs() -> dict[str, str]:
    """Return polynomials by which columns go east and rows south."""
    one, east, north = ("1" + " 0" * 19, "0 1" + " 0" * 18, "0 0 -1" + " 0" * 17)
    scales = {"SAMP": (50, 50), "LINE": (40, 40), "LONG": (7, 0.5), "LAT": (47, 0.4)}
    found = {f"{k}_OFF": str(a) for k, (a, _) in scales.items()}
    found |= {f"{k}_SCALE": f"{b} degrees" for k, (_, b) in scales.items()}
    return found | {
        "SAMP_NUM_COEFF": east, "SAMP_DEN_COEFF": one,
        "LINE_NUM_COEFF": north, "LINE_DEN_COEFF": one,
    }  # fmt: skip


def test_control_points_give_their_affine():
    places = [(c, r, 7 + 0.1 * c, 50 - 0.2 * r) for c, r in ((0, 0), (9, 0), (0, 9), (9, 9))]
    found = fitted_place({"crs_wkt": "EPSG:4326", "gcps": points(*places)})
    assert found is not None
    assert found[0] == "EPSG:4326"
    assert np.allclose(found[1], [0.1, 0, 7, 0, -0.2, 50])


def test_polynomials_give_an_affine_at_the_mean_height():
    found = fitted_place({"rpcs": rpcs()})
    assert found is not None
    assert np.allclose(found[1], [0.01, 0, 6.5, 0, -0.01, 47.4])


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"crs_wkt": "x"},
        {"gcps": points((0, 0, 1, 1))},
        {"crs_wkt": "x", "gcps": points((0, 0, 1, 1), (1, 1, 2, 2), (2, 2, 3, 3))},
        {"crs_wkt": "x", "gcps": "nonsense"},
        {"rpcs": {"SAMP_OFF": "1"}},
        {"rpcs": {**rpcs(), "SAMP_DEN_COEFF": " ".join(["0"] * 20)}},
    ],
)
def test_less_gives_none(attributes: dict[str, object]):
    assert fitted_place(attributes) is None
