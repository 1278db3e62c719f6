"""What is called by its path, and what must not be."""

from __future__ import annotations

from dataclasses import replace

from tilepress.errors import DamagedSource
from tilepress.pipeline.find.told import A_FILE, told_error, told_failure, told_name
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.private_names import PRIVATE
from tilepress.pipeline.image.source import SourceSpec

PATH = "/in/DOE^JANE/1.dcm"
SERIES = SourceSpec(kind="dicom", paths=(PATH,), options={"name": "CT-0123456789ab"})
PAGE = SourceSpec(kind="geotiff", paths=("/in/a.tif",), options={"name": "a", "page": 2})
BESIDE = replace(PAGE, paths=("/in/DOE^JANE/a.tif",), options={PRIVATE: True})


def test_images():
    assert told_name(SERIES) == "CT-0123456789ab"
    assert told_name(PAGE) == "/in/a.tif (page 2)"
    assert told_name(BESIDE) == A_FILE


def test_errors_of_images():
    assert told_error(PAGE, "cut off, in /in/a.tif") == "cut off, in /in/a.tif"
    assert told_error(SERIES, f"cut off, in {PATH}", "x.zarr") == "cut off, in the file of x.zarr"
    assert "DOE" not in told_error(BESIDE, f"cut off, in {BESIDE.paths[0]}")


def test_failures():
    open_one = Failure("/in/a.tif", DamagedSource("opening /in/a.tif: cut off"))
    assert told_failure(open_one) == (open_one.path, open_one.error)
    name, error = told_failure(Failure(PATH, DamagedSource(f"opening {PATH}: cut off"), True))
    assert (name, str(error)) == (A_FILE, f"opening {A_FILE}: cut off")
    assert isinstance(error, DamagedSource)
