"""zarrita, Zarr in JavaScript, which does not know the codec: it says so, and reads all else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Made

pytestmark = pytest.mark.readers

MODULES = Path(sys.prefix) / "node_modules"

SCRIPT = """
import * as zarr from "zarrita";
import { FileSystemStore } from "@zarrita/storage";
const root = zarr.root(new FileSystemStore(process.argv[2]));
const told = { pip: (await zarr.open.v3(root, { kind: "group" })).attrs.tilepress.pip };
try {
  const array = await zarr.open.v3(root.resolve("0/image"), { kind: "array" });
  told.shape = array.shape;
  await zarr.get(array, [0, null, null]);
  told.read = true;
} catch (error) {
  told.error = `${error.name}: ${error.message}`;
}
const x = await zarr.get(await zarr.open.v3(root.resolve("0/x"), { kind: "array" }));
told.x = x.data.length;
console.log(JSON.stringify(told));
"""


class TestZarrita:
    def test_says_which_codec_it_lacks_and_the_root_how_to_get_it(
        self, scene: Made, tmp_path: Path
    ) -> None:
        node = shutil.which("node")
        assert node is not None, "make test-readers needs Node.js"
        (tmp_path / "node_modules").symlink_to(MODULES)
        script = tmp_path / "read.mjs"
        script.write_text(SCRIPT)
        ran = subprocess.run(
            [node, script, os.fspath(scene.path)], capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        assert "read" not in told, "never samples that are none"
        assert "tilepress.tile" in told["error"]
        assert told["pip"] == "pip install tilepress"
        assert told["x"] == scene.image.shape[2]
