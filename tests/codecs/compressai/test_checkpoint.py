"""Checkpoints are tensors and nothing else, with the tables of their entropy coder."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from tilepress.codecs.compressai import checkpoint
from tilepress.codecs.compressai.checkpoint import check_file, converted
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.limits import MAX_WEIGHTS_BYTES
from tilepress.codecs.registry import canonical, coder_class
from tilepress.codecs.weights import add_model, find_model, load_named
from tilepress.errors import ModelError, UnsupportedFormat

torch = pytest.importorskip("torch")

NET = {
    "g_a.0.weight": torch.zeros(8, 3, 5, 5),
    "entropy_bottleneck._quantized_cdf": torch.ones(8, 5, dtype=torch.int32),
}


class Evil:
    def __reduce__(self):
        return (Path("/nowhere/evil").touch, ())


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_MODELS", str(tmp_path / "models"))


def saved(tmp_path: Path, what: object, name: str = "a.pth.tar") -> Path:
    path = tmp_path / name
    torch.save(what, path)
    return path


class TestReading:
    @pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"state_dict": net, "epoch": 3}])
    def test_a_state_dict(self, wrap, tmp_path: Path) -> None:
        data = converted(saved(tmp_path, wrap(NET)))
        assert check_file(data)["g_a.0.weight"] == (8, 3, 5, 5)
        assert data == converted(saved(tmp_path, wrap(NET), "again.pth"))

    def test_of_several_devices(self, tmp_path: Path) -> None:
        data = converted(saved(tmp_path, {f"module.{k}": v for k, v in NET.items()}))
        assert set(check_file(data)) == set(NET)

    def test_no_code_runs(self, tmp_path: Path) -> None:
        for protocol in (2, 4):
            path = tmp_path / f"{protocol}.pth"
            path.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol))
            with pytest.raises(ModelError, match="not a checkpoint of tensors alone"):
                converted(path)
        with pytest.raises(ModelError, match="not a checkpoint of tensors alone"):
            converted(saved(tmp_path, {"state_dict": NET, "more": Evil()}))

    def test_no_small_file_becomes_a_large_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint, "MAX_CHECKPOINT_BYTES", 2**20)
        view = saved(tmp_path, {**NET, "a": torch.zeros(1).expand(2**40)}, "view.pth")
        with pytest.raises(ModelError, match=f"{2**42 + 2560} bytes of tensors, at most"):
            converted(view)
        plain, packed = saved(tmp_path, {**NET, "a": torch.zeros(2**19)}), tmp_path / "packed.pth"
        with zipfile.ZipFile(plain) as a, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as b:
            for member in a.infolist():
                b.writestr(member.filename, a.read(member))
        assert packed.stat().st_size < 2**16
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
        with pytest.raises(ModelError, match="bytes, at most"):
            converted(packed)

    @pytest.mark.parametrize("name", ["sparse", "meta", "text"])
    def test_only_plain_arrays(self, tmp_path: Path, name: str) -> None:
        odd = {
            "sparse": {"a": torch.eye(3).to_sparse()},
            "meta": {"a": torch.zeros(3, device="meta")},
            "text": {"\ud800": torch.zeros(3)},
        }[name]
        with pytest.raises(ModelError, match="no plain arrays"):
            converted(saved(tmp_path, {**NET, **odd}))

    @pytest.mark.parametrize("shape", ["[1e999]", "[]", "[5]", "[0, 5]", "5", "{}", "null"])
    def test_headers_of_any_kind(self, shape: str) -> None:
        header = f'{{"entropy_bottleneck._quantized_cdf": {{"shape": {shape}}}, '
        header += f'"__metadata__": {{"format": "{checkpoint.FORMAT}"}}}}'
        with pytest.raises(ModelError):
            check_file(len(header).to_bytes(8, "little") + header.encode())

    @pytest.mark.parametrize(
        ("what", "words"),
        [
            ([1, 2], "want a state dict"),
            ({"a": 5}, "want a state dict"),
            ({"g_a.0.weight": NET["g_a.0.weight"]}, r"call the model's update\(\)"),
            ({**NET, "entropy_bottleneck._quantized_cdf": torch.zeros(0)}, r"update\(\)"),
        ],
    )
    def test_what_is_none_is_named(self, what: object, words: str, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=words):
            converted(saved(tmp_path, what))

    def test_sizes_are_limited(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = saved(tmp_path, NET)
        monkeypatch.setattr(checkpoint, "MAX_CHECKPOINT_BYTES", 100)
        with pytest.raises(ModelError, match="at most 100"):
            converted(path)
        with pytest.raises(ModelError, match="no such file"):
            converted(tmp_path / "none.pth")

    @pytest.mark.parametrize("data", [b"", b"12345678", (2**40).to_bytes(8, "little") * 9])
    def test_files_of_other_kinds(self, data: bytes) -> None:
        with pytest.raises(ModelError, match="safetensors"):
            check_file(data)
        with pytest.raises(ModelError, match="no CompressAI model"):
            check_file(load_named("mlp-1").data)


class TestInTheModelFolder:
    def test_large_weights_are_found_again(self, tmp_path: Path) -> None:
        large = {**NET, "g_s.0.weight": torch.zeros(MAX_WEIGHTS_BYTES // 2)}
        added = add_model(saved(tmp_path, large, "mine.pth.tar"))
        assert added.name == "mine"
        assert len(added.data) > MAX_WEIGHTS_BYTES
        assert find_model("mine", added.sha256, None).data == added.data
        assert load_named("mine").sha256 == added.sha256

    def test_other_large_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "large.safetensors"
        path.write_bytes(load_named("mlp-1").data + bytes(MAX_WEIGHTS_BYTES))
        with pytest.raises(ModelError, match="is larger than"):
            load_named(str(path))


class TestNames:
    def test_an_architecture_must_be_told(self) -> None:
        assert canonical("compressai:mbt2018") == "compressai:mbt2018"
        with pytest.raises(UnsupportedFormat, match="want one of bmshj2018-factorized"):
            coder_class("compressai:hific")
        with pytest.raises(UnsupportedFormat, match="wants an architecture"):
            coder_class("compressai")(None, "standard", b"x", "cpu")  # type: ignore[arg-type]

    def test_no_rate_can_be_asked_for(self) -> None:
        targets = {"psnr": 40.0}
        with pytest.raises(UnsupportedFormat, match="takes no psnr, but quality"):
            CodecConfig.of("compressai:mbt2018", 0, None, "standard", "auto", targets)
        with pytest.raises(UnsupportedFormat, match="brings no weights"):
            coder_class("compressai:mbt2018")(None, "standard", b"", "cpu")  # type: ignore[arg-type]
