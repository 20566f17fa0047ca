"""Folders that somebody else made: nothing in them is run, and what is hashed is what is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable
from stockllm.data.paths import Home
from stockllm.forecaster.exporting.export import export
from stockllm.forecaster.models import registry
from stockllm.forecaster.models.registry import (
    base_model_dir,
    list_adapters,
    load_model,
    resolve_model,
    weights_hash,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Iterator[Path]:
    copied = tmp_path / "model"
    shutil.copytree(tiny_model, copied)
    yield copied
    registry._load.cache_clear()


class Payload:
    """What a pickle or a module of a folder's would do if anybody let it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_only_what_is_loaded_is_hashed(folder: Path, home: Home) -> None:
    before = weights_hash(folder)
    (folder / "a.safetensors").write_bytes(b"not loaded")
    (folder / "zz.safetensors").write_bytes(b"not loaded")
    assert weights_hash(folder) == before
    assert load_model(resolve_model(str(folder), home)).model_hash == before
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert weights_hash(folder) != before


def test_a_pickle_beside_weights_that_nobody_loads(folder: Path, home: Home, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(ModelUnavailable, match="There are no weights in"):
        load_model(resolve_model(str(folder), home))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "named", ["../model/other.safetensors", "/x/other.safetensors", "other.bin", ".safetensors", 7, None]
)
def test_an_index_names_files_of_its_own_folder(folder: Path, named: Any) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "other.safetensors"}}))
    assert weights_hash(folder)
    index.write_text(json.dumps({"weight_map": {"a": "other.safetensors", "b": named}}))
    with pytest.raises(ModelUnavailable, match="does not name files of its own folder"):
        weights_hash(folder)


def test_a_configuration_that_names_other_weights(folder: Path) -> None:
    (folder / "other.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "other.safetensors"}))
    with pytest.raises(ModelUnavailable, match="transformers_weights"):
        weights_hash(folder)


def test_code_in_a_folder_is_neither_run_nor_asked_about(
    folder: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any) -> str:
        raise AssertionError("the user was asked whether to run the code")

    monkeypatch.setattr("builtins.input", ask)
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    config = json.loads((folder / "config.json").read_text()) | {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_model(resolve_model(str(folder), home))
    assert not (tmp_path / "ran").exists()


def test_an_adapter_is_no_model(folder: Path, home: Home) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    (folder / "adapter_model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelUnavailable, match="is an adapter and no model"):
        load_model(resolve_model(str(folder), home))


@pytest.mark.parametrize("name", ["../outside", "..", ".", "a/../../outside", "/etc", ".hidden"])
def test_an_adapter_is_a_folder_of_the_home(home: Home, name: str) -> None:
    for place in (home.root / "outside", home.adapters / ".hidden"):
        place.mkdir(exist_ok=True)
        (place / "card.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="no adapter"):
        resolve_model(f"llama+{name}", home)


def test_a_card_of_odd_things_does_not_hide_the_others(home: Home) -> None:
    from dataclasses import asdict

    from stockllm.forecaster.models.cards import Card

    good = Card(
        name="good", base="llama", base_hash="0", hash="0", made_at="2026-01-01T00:00:00+08:00",
        companies=["2330"], data_start="2025-01-02", data_end="2025-12-31", validation_from=None, embargo=5,
        simulated=False, prompt="compact", tasks=["5/5"], engine="peft", steps=1, examples={}, losses={},
        flags={}, run="",
    )  # fmt: skip
    odd: list[Any] = [
        {"made_at": "2026-01-01T00:00:00"},  # sorts with the others all the same
        {"made_at": 7}, {"companies": 7}, {"companies": [7]}, {"flags": "align"}, {"base": "\x1b[2Jllama"},
        {"steps": "many"}, {"losses": []},
    ]  # fmt: skip
    for i, change in enumerate([{}, *odd]):
        (home.adapters / f"a{i}").mkdir()
        (home.adapters / f"a{i}" / "card.json").write_text(json.dumps(asdict(good) | change))
    (home.adapters / "deep").mkdir()
    (home.adapters / "deep" / "card.json").write_text("[" * 100_000)
    assert sorted(info.name for info in list_adapters(home)) == ["a0", "a1"]


def test_an_export_takes_no_link_that_leaves_the_folder(folder: Path, home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("newsapi_key = 'hush'")
    (folder / "tokenizer_extra.json").symlink_to(secret)
    with pytest.raises(ModelUnavailable, match="outside its folder"):
        export(resolve_model(str(folder), home), tmp_path / "out", "merged")
    assert not (tmp_path / "out").exists()
    (folder / "tokenizer_extra.json").unlink()
    (folder / "inner").write_text("{}")
    (folder / "tokenizer_extra.json").symlink_to(folder / "inner")
    export(resolve_model(str(folder), home), tmp_path / "out", "merged")


def test_a_hubs_cache_is_exported_through_its_links(folder: Path, home: Home, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "0123"
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert export(resolve_model(str(snapshot), home), tmp_path / "out", "merged").files


def test_the_embedded_model_keeps_its_hash() -> None:
    import hashlib

    # Its own weights, then those of the network whose words it reads.
    files = ("model.safetensors", "outlook.safetensors")
    weights = b"".join((base_model_dir() / name).read_bytes() for name in files)
    assert weights_hash(base_model_dir()) == hashlib.sha256(weights).hexdigest()
