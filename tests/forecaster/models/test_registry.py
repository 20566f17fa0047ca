"""What a model's name means, what is loaded for it, and one sentence where it cannot be."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable
from stockllm.data.paths import Home
from stockllm.forecaster.models import registry as models
from stockllm.forecaster.models.cards import CARD_FILE, Card
from stockllm.forecaster.models.registry import (
    BASELINES,
    ModelRef,
    automatic,
    base_model_dir,
    default_model,
    list_adapters,
    load_model,
    resolve_model,
    weights_hash,
)

MakeAdapter = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    yield
    models._load.cache_clear()


@pytest.fixture
def adapter(home: Home) -> MakeAdapter:
    """``adapter(name, base_hash=..., made_at=...)``: a card in a folder of the home's adapters."""

    def make(
        name: str, base: str = "llama", made_at: str = "2026-01-01T00:00:00+08:00", **facts: Any
    ) -> Path:
        folder = home.adapters / name
        folder.mkdir(parents=True)
        facts = {"base_hash": weights_hash(base_model_dir()), "companies": ["2330"], "flags": {}} | facts
        card = Card(
            name=name, base=base, hash="0", made_at=made_at, data_start="2025-01-02", data_end="2025-12-31",
            validation_from=None, embargo=5, simulated=False, prompt="compact", tasks=["5/5"], engine="peft",
            steps=1, examples={}, losses={}, run="", **facts,
        )  # fmt: skip
        (folder / CARD_FILE).write_text(json.dumps(asdict(card)), encoding="utf-8")
        return folder

    return make


def with_weights(folder: Path, base: Path) -> Path:
    """Put a random LoRA adapter of ``base`` into a folder that has a card."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), options).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "auto", "", "  llama "])
def test_the_embedded_model(home: Home, name: str) -> None:
    assert resolve_model(name, home) == ModelRef("llama", base_model_dir())


def test_auto_is_the_best_proven_adapter_of_the_embedded_model(home: Home, adapter: MakeAdapter) -> None:
    adapter("older", made_at="2026-01-01T09:00:00+08:00")
    adapter("newest", made_at="2026-01-01T02:00:00+00:00")
    adapter("elsewhere", base="owner/llama", made_at="2026-02-01T00:00:00+08:00")
    adapter("outdated", base_hash="f" * 64, made_at="2026-02-02T00:00:00+08:00")
    (home.adapters / "unfinished").mkdir()
    for broken in ("{", "[]", '{"name": 1}'):
        adapter(f"broken{len(broken)}").joinpath(CARD_FILE).write_text(broken, encoding="utf-8")
    adapter("undated", made_at=5)
    # None of them says that it beat its base, so the base forecasts alone.
    assert resolve_model("auto", home) == ModelRef("llama", base_model_dir())
    assert automatic(home).why == "no adapter's card says that it beat the base on validation (2 here)"
    assert [a.name for a in list_adapters(home)] == ["outdated", "elsewhere", "newest", "older"]
    assert list_adapters(home)[2].companies == ("2330",)
    assert list_adapters(Home(home.root / "nowhere")) == []


def test_auto_takes_an_adapter_only_where_it_beat_its_base(home: Home, adapter: MakeAdapter) -> None:
    adapter("worse", made_at="2026-03-01T00:00:00+08:00", crps_base=0.010, crps_adapter=0.011)
    adapter("equal", made_at="2026-03-01T00:00:00+08:00", crps_base=0.010, crps_adapter=0.010)
    adapter("outdated", base_hash="f" * 64, crps_base=0.010, crps_adapter=0.001)
    adapter("aligned", flags={"align": True}, crps_base=0.010, crps_adapter=0.001)
    assert automatic(home).name == "llama"
    adapter("better", crps_base=0.010, crps_adapter=0.0098)
    best = adapter("best", made_at="2025-01-01T00:00:00+08:00", crps_base=0.020, crps_adapter=0.019)
    assert resolve_model("auto", home) == ModelRef("llama", base_model_dir(), "best", best)
    assert "5.0% below" in automatic(home).why
    pinned = default_model(home, "llama+worse")
    assert pinned.name == "llama+worse"
    assert "pins" in pinned.why


def test_an_adapter_by_its_name(home: Home, adapter: MakeAdapter) -> None:
    folder = adapter("five")
    assert resolve_model("llama+five", home) == ModelRef("llama", base_model_dir(), "five", folder)
    with pytest.raises(ModelUnavailable, match=r"no adapter 'six' in .*adapters \(there: five\)"):
        resolve_model("llama+six", home)


def test_a_folder_even_one_with_a_plus_in_its_name(home: Home, adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter("five")
    for name in ("base", "base+more"):
        (tmp_path / name).mkdir()
    for name, wanted in (("base", None), ("base+more", None), ("base+five", "five")):
        ref = resolve_model(str(tmp_path / name), home)
        assert ref.adapter == wanted
        assert ref.base == tmp_path / ("base" if wanted else name)


def test_a_hub_id(home: Home) -> None:
    name = "unsloth/Llama-3.2-3B-Instruct"
    assert resolve_model(name, home) == ModelRef(name, name)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline(home: Home, name: str) -> None:
    assert resolve_model(name, home) == ModelRef(name, None)
    with pytest.raises(ModelUnavailable, match=re.escape(f"takes no adapter: use {name} alone")):
        resolve_model(f"{name}+five", home)


@pytest.mark.parametrize("name", ["gpt", "./nowhere", "/no/where", "~/nowhere"])
def test_an_unknown_name_is_told_the_known_ones(home: Home, adapter: MakeAdapter, name: str) -> None:
    adapter("five")
    with pytest.raises(
        ModelUnavailable, match=r"no model '.*': name one of auto, llama, .*llama\+five, a folder"
    ):
        resolve_model(name, home)


def test_without_the_embedded_model(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from stockllm import data

    monkeypatch.setattr(data, "__path__", [str(tmp_path)])
    with pytest.raises(ModelUnavailable, match=r"base model is missing from .*: install stockllm again"):
        resolve_model("llama", home)


# --- loading -------------------------------------------------------------------------------------


def test_a_model_is_loaded_once_and_again_when_its_weights_change(
    home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    ref = resolve_model(str(folder), home)
    loaded = load_model(ref)
    assert load_model(ref) is loaded
    assert loaded.model_hash == weights_hash(folder) == weights_hash(tiny_model)
    assert (loaded.adapter_hash, loaded.card) == (None, None)
    assert not loaded.model.training
    loaded.model.lm_head.weight.data.add_(1)
    loaded.model.save_pretrained(folder)
    again = load_model(ref)
    assert again.model_hash == weights_hash(folder) != loaded.model_hash


def test_an_adapter_is_merged_in(home: Home, tiny_model: Path, adapter: MakeAdapter) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = with_weights(adapter("five", base_hash=weights_hash(tiny_model)), tiny_model)
    loaded = load_model(resolve_model(f"{tiny_model}+five", home))
    assert type(loaded.model).__name__ == "LlamaForCausalLM"
    assert loaded.adapter_hash == weights_hash(folder)
    assert loaded.card is not None
    assert loaded.card.name == "five"
    ids = torch.tensor([[1, 2, 3]])
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.inference_mode():
        before = plain(ids).logits
        wanted = PeftModel.from_pretrained(plain, folder)(ids).logits
        torch.testing.assert_close(loaded.model(ids).logits, wanted, atol=1e-5, rtol=0)
        assert (wanted - before).abs().max() > 1e-3


def test_an_adapter_of_another_base_is_refused(home: Home, tiny_model: Path, adapter: MakeAdapter) -> None:
    with_weights(adapter("five"), tiny_model)
    with pytest.raises(
        ModelUnavailable, match=r"five was trained on other weights of llama than .*: train it again"
    ):
        load_model(resolve_model(f"{tiny_model}+five", home))


def test_an_adapter_whose_card_is_broken_is_refused(
    home: Home, tiny_model: Path, adapter: MakeAdapter
) -> None:
    folder = with_weights(adapter("five"), tiny_model)
    (folder / CARD_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelUnavailable, match="adapter five has no card that can be read"):
        load_model(resolve_model(f"{tiny_model}+five", home))


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json"])
def test_a_broken_folder_is_one_sentence(home: Home, tiny_model: Path, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model, folder)
    (folder / broken).write_bytes(b"no")
    with pytest.raises(ModelUnavailable, match="cannot be loaded") as caught:
        load_model(resolve_model(str(folder), home))
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="There are no weights in"):
        load_model(resolve_model(str(tmp_path), home))


def test_a_hub_model_that_cannot_be_reached(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def nothing(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    monkeypatch.setattr(models, "reach", nothing)
    with pytest.raises(ModelUnavailable, match=r"owner/model cannot be reached: .* download it to a folder"):
        load_model(resolve_model("owner/model", home))


def test_a_hub_model_that_is_here_is_not_asked_for_again(
    home: Home, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def cached(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        assert local_files_only
        return str(tiny_model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    loaded = load_model(resolve_model("owner/model", home))
    assert loaded.ref.name == "owner/model"
    assert loaded.model_hash == weights_hash(tiny_model)


def test_a_baseline_has_nothing_to_load() -> None:
    with pytest.raises(ValueError, match="nothing to load"):
        load_model(ModelRef("ewma", None))


def test_the_shipped_model_loads_and_fits_its_tokenizer(home: Home) -> None:
    loaded = load_model(resolve_model("llama", home))
    assert loaded.model.config.model_type == "llama"
    assert loaded.model.config.vocab_size == len(loaded.tokenizer)
    assert sum(f.stat().st_size for f in base_model_dir().glob("*.safetensors")) < 8_000_000
