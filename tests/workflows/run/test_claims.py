"""Claims: the first image that asks for a store has it."""

from __future__ import annotations

from tilepress.workflows.run.claims import Claims


class TestClaims:
    """Two images must never be written into one store."""

    def test_the_first_one_has_it(self):
        claims = Claims()
        assert claims.claim("out/a.zarr", "a.tif") is None
        assert claims.claim("out/b.zarr", "b.tif") is None
        assert claims.claim("out/a.zarr", "a.png") == "a.tif"
        assert claims.claim("out/a.zarr", "a.jp2") == "a.tif", "it stays the first one's"

    def test_an_image_that_comes_again_meets_itself(self):
        claims = Claims()
        assert claims.claim("out/a.zarr", "a.tif") is None
        assert claims.claim("out/a.zarr", "a.tif") == "a.tif"

    def test_names_need_not_be_utf8(self):
        claims = Claims()
        assert claims.claim("out/caf\udce9.zarr", "caf\udce9.tif") is None
        assert claims.claim("out/caf\udce9.zarr", "other.tif") == "caf\udce9.tif"

    def test_runs_do_not_share_them(self):
        first = Claims()
        first.claim("out/a.zarr", "a.tif")
        assert Claims().claim("out/a.zarr", "b.tif") is None
