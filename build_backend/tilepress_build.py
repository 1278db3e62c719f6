"""Build backend: scikit-build-core, and a compiler from the package index where there is none.

The hooks of PEP 517. CMake compiles the native kernel (codecs/wave/native) by the machine's
compiler, as CC says or the first of cc, gcc and clang. A machine without one is given ``ziglang``,
a wheel whose ``zig cc`` is Clang with the headers of a C library.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from scikit_build_core import build as _build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_COMPILER = "ziglang>=0.13,<1"


def _has_compiler() -> bool:
    return bool(os.environ.get("CC")) or any(map(shutil.which, ("cc", "gcc", "clang")))


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    needs = list(_build.get_requires_for_build_wheel(config_settings))
    return needs if _has_compiler() else [*needs, _COMPILER]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    needs = list(_build.get_requires_for_build_editable(config_settings))
    return needs if _has_compiler() else [*needs, _COMPILER]


def _choose_compiler() -> None:
    if not _has_compiler():
        os.environ["CC"] = f"{sys.executable} -m ziglang cc"


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    _choose_compiler()
    return _build.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    _choose_compiler()
    return _build.build_editable(wheel_directory, config_settings, metadata_directory)
