"""Say of a series what its instances share, where they differ, and what varies by plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tilepress.errors import ExcludedSource
from tilepress.pipeline.dicom.axes import Arrangement
from tilepress.pipeline.dicom.header import Instance, Plane

__all__ = [
    "attributes_of",
    "burned_in_of",
    "differing_remarks",
    "refuse_labels",
    "siblings_remark",
    "valid_range_of",
]


def refuse_labels(instances: Sequence[Instance]) -> None:
    """Raise ExcludedSource where an image shows the label of a slide."""
    for one in instances:
        if one.slide_label:
            text = f"its {one.slide_label} image is left out, for a slide's label names a patient"
            raise ExcludedSource(f"de-identifying {one.path}: {text}")


def burned_in_of(instances: Sequence[Instance]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what files say of text that is burned into their pixels, and a remark of it."""
    said = Counter(one.burned_in or "unknown" for one in instances)
    open_ones = len(instances) - said["NO"]
    remark = (
        f"burned-in annotation: {open_ones} of {len(instances)} files do not say that there is "
        "none; the pixels are as they were"
    )
    told = {"burned_in_annotation": dict(sorted(said.items()))}
    return told, (remark,) if open_ones else ()


def siblings_remark(names: Sequence[str]) -> tuple[str, ...]:
    """Return a remark that names other images of the series; none where there are none."""
    listed = ", ".join(names)
    return (f"other images of the same series and size: {listed}",) if names else ()


def valid_range_of(instances: Sequence[Instance]) -> tuple[int, int] | None:
    """Return the least and largest value that stored bits hold; None where that is the type's."""
    pixels = max((one.pixels for one in instances), key=lambda pixels: pixels.stored)
    if pixels.floating or (pixels.stored == pixels.allocated and pixels.allocated > 1):
        return None
    if pixels.signed:
        return -(1 << (pixels.stored - 1)), (1 << (pixels.stored - 1)) - 1
    return 0, (1 << pixels.stored) - 1


def attributes_of(
    instances: Sequence[Instance], found: Arrangement, photometric: str
) -> dict[str, Any]:
    """Return the attributes of the array: what all instances share, and what varies by plane."""
    shared = dict(instances[0].attributes)
    for one in instances[1:]:
        shared = {k: v for k, v in shared.items() if one.attributes.get(k) == v}
    if "bits_stored" in instances[0].attributes:  # whatever the bits: samples are of one dtype
        shared["bits_stored"] = max(one.attributes["bits_stored"] for one in instances)
    shared["photometric_interpretation"] = photometric
    shared["instances"] = len(instances)
    if "t" in found.coordinates:
        shared["t_units"] = "ms"
    planes = found.planes
    if all(p.rescale for p in planes):
        shared["rescale_slope"] = _varying([p.rescale[0] for p in planes if p.rescale])
        shared["rescale_intercept"] = _varying([p.rescale[1] for p in planes if p.rescale])
    if all(p.window for p in planes):
        shared["window_center"] = _window(planes, 0)
        shared["window_width"] = _window(planes, 1)
    return shared


def differing_remarks(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Return remarks on what only some files say of their values, or each says differently."""
    names = {
        "real_world_value_mapping": "their real world values",
        "modality_lut": "their Modality LUT",
        "palette": "their palette",
        "rescale_type": "their rescale type",
        "units": "their units",
    }
    said = {name: [one.attributes.get(name) for one in instances] for name in names}
    return tuple(
        f"files differ in {names[name]}: none is told"
        for name, values in said.items()
        if any(value != values[0] for value in values)
    )


def _varying(values: list[float]) -> float | list[float]:
    """Return the one value that all planes share, or one per plane."""
    return values[0] if len(set(values)) == 1 else values


def _window(planes: Sequence[Plane], which: int) -> float | list[float]:
    """Return the windows of the middle plane: planes may differ, viewers want one."""
    window = planes[len(planes) // 2].window
    assert window is not None
    values = list(window[which])
    return values[0] if len(values) == 1 else values
