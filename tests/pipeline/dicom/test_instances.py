"""The bytes of one instance can be had alone: what a service of DICOMweb asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tilepress.pipeline.dicom.instances import instance_bytes
from tilepress.pipeline.dicom.stored import Planes, stored_instances

Write = Callable[..., Path]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_each_is_its_file(write: Write, one_spec, in_memory, syntax: str) -> None:
    paths = [
        write(f"{n}/i", np.full((4, 6), n, np.uint16), syntax=syntax, instance=n) for n in (3, 1)
    ]
    reader = in_memory(one_spec(*paths))
    planes = Planes(reader)
    found = {
        one.name: b"".join(instance_bytes(one, planes, reader)) for one in stored_instances(reader)
    }
    assert found == {"1/i": paths[1].read_bytes(), "3/i": paths[0].read_bytes()}
