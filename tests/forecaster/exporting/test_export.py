"""A model leaves the project: folders that transformers and PEFT load, with a card, whole or not there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.errors import ModelUnavailable, StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.forecaster.exporting import export as exporting
from stockllm.forecaster.exporting.card import commands
from stockllm.forecaster.exporting.export import EXPORT_FILE, describe, export
from stockllm.forecaster.exporting.facts import Kind
from stockllm.forecaster.models.cards import CARD_FILE, Card
from stockllm.forecaster.models.registry import base_model_dir, resolve_model, weights_hash
from stockllm.forecaster.sampling.cutoffs import cutoff, held_out

MakeAdapter = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def adapter(home: Home) -> MakeAdapter:
    """``adapter(base)``: a random LoRA adapter of rank 2 on a base; the name of both together."""

    def make(base: Path | None = None, method: str = "lora", simulated: bool = False) -> str:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        name, folder = f"five-{method}", home.adapters / f"five-{method}"
        where = base or base_model_dir()
        options = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        get_peft_model(AutoModelForCausalLM.from_pretrained(where), options).save_pretrained(folder)
        AutoTokenizer.from_pretrained(where).save_pretrained(folder)
        card = Card(
            name=name, base=str(base or "llama"), base_hash=weights_hash(where), hash="a" * 64,
            made_at="2026-04-01T20:00:00+08:00", companies=["2330", "1103"], data_start="2025-01-02",
            data_end="2026-05-28", validation_from=None, embargo=5, simulated=simulated, prompt="compact",
            tasks=["5/5"], engine="peft", steps=1, examples={}, losses={},
            flags={"rank": 2, "model_dir": str(where), "data_dir": "/home/someone/prices"},
            run="five-0123", method=method,
        )  # fmt: skip
        (folder / CARD_FILE).write_text(json.dumps(asdict(card)), encoding="utf-8")
        (folder / "adapter_model.safetensors").chmod(0o600)
        return f"{base or 'llama'}+{name}"

    return make


#: What a user without stockllm does, in words of transformers and PEFT alone.
UPSTREAM = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
merged, folder = sys.argv[1:]
whole = AutoModelForCausalLM.from_pretrained(merged).eval()
from peft import PeftModel
base = AutoModelForCausalLM.from_pretrained(folder + "/base", dtype=torch.float32)
apart = PeftModel.from_pretrained(base, folder).eval()
one, other = (AutoTokenizer.from_pretrained(f) for f in (merged, folder))
asked = [{"role": "user", "content": "volatility 2.00%\\n+1 +5 -3 +2 12\\nPredict the next 1 day:"}]
ids = one.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
assert ids["input_ids"].tolist() == other.apply_chat_template(
    asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"].tolist()
assert whole.generation_config.do_sample and whole.generation_config.top_k == 0
with torch.inference_mode():
    far = (whole(**ids).logits - apart(**ids).logits).abs().max().item()
    bare = (apart.unload()(**ids).logits - whole(**ids).logits).abs().max().item()
assert far < 1e-3 < bare, (far, bare)
answers = whole.generate(**ids, max_new_tokens=8, num_return_sequences=4)
assert len({tuple(a.tolist()) for a in answers}) > 1
assert not [m for m in sys.modules if m.startswith("stockllm")]
print(whole.num_parameters())
"""


def test_a_fresh_process_with_the_upstream_libraries_alone_loads_both(
    home: Home, adapter: MakeAdapter, tmp_path: Path
) -> None:
    ref = resolve_model(adapter(), home)
    merged, apart = export(ref, tmp_path / "merged", "merged"), export(ref, tmp_path / "apart", "adapter")
    done = subprocess.run(
        [sys.executable, "-c", UPSTREAM, str(merged.folder), str(apart.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((base_model_dir() / "training.json").read_text("utf-8"))
    assert int(done.stdout) == facts["parameters"]
    for made in (merged, apart):
        assert {EXPORT_FILE, "README.md", "chat_template.jinja", CARD_FILE} < {name for name, _ in made.files}
        for name, size in made.files:
            path = made.folder / name
            assert path.stat().st_size == size
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            # No path of this machine leaves with it.
            if path.suffix != ".safetensors":
                text = path.read_text(encoding="utf-8")
                assert str(base_model_dir()) not in text
                assert "/home/someone" not in text
                assert "local_files_only" not in text


def test_the_base_alone_is_the_same_to_the_bit(home: Home, tmp_path: Path) -> None:
    made = export(resolve_model("llama", home), tmp_path / "base", "merged")
    assert weights_hash(made.folder) == weights_hash(base_model_dir())
    again = resolve_model(str(made.folder), home)
    # It knows its past: stockllm itself holds the folder to the same cut-off.
    assert cutoff(again, simulated=False, calibrated=False) == cutoff(
        resolve_model("llama", home), simulated=False, calibrated=False
    )
    assert held_out(again) == held_out(resolve_model("llama", home))


def test_a_merged_adapter_knows_what_both_parts_have_read(
    home: Home, adapter: MakeAdapter, tmp_path: Path
) -> None:
    made = export(resolve_model(adapter(), home), tmp_path / "merged", "merged")
    again = resolve_model(str(made.folder), home)
    assert cutoff(again, simulated=False).day is not None
    assert cutoff(again, simulated=False).day.isoformat() == "2026-05-28"  # type: ignore[union-attr]
    assert "1103" in held_out(resolve_model("llama", home))
    assert "1103" not in held_out(again)  # it was tuned on


def test_one_of_real_and_simulated_days_claims_no_cutoff(
    home: Home, adapter: MakeAdapter, tmp_path: Path
) -> None:
    made = export(resolve_model(adapter(simulated=True), home), tmp_path / "merged", "merged")
    again = resolve_model(str(made.folder), home)
    assert cutoff(again, simulated=False).known is False
    assert cutoff(again, simulated=True).known is False
    assert "SIMULATED 模擬資料" in (made.folder / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_a_reader_needs(home: Home, adapter: MakeAdapter, tmp_path: Path) -> None:
    made = export(resolve_model(adapter(), home), tmp_path / "apart", "adapter")
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    header = card.split("---")[1]
    assert "license: mit" in header
    assert "library_name: peft" in header
    assert "language: [en, zh]" in header
    assert "| data cut-off | 2026-05-28 |" in card
    for heading in ("Format", "Load", "Serve", "Intended use", "Limits", "Licence", "Companies kept out"):
        assert f"## {heading}" in card
    facts = json.loads((base_model_dir() / "training.json").read_text("utf-8"))
    assert facts["held_out"][0] in card.split("## Companies kept out of training")[1]
    assert "2330, 1103" in card.split("## Companies tuned on")[1]
    assert "不構成投資建議" in card


def test_a_local_base_is_named_without_its_folders(
    home: Home, adapter: MakeAdapter, tiny_model: Path, tmp_path: Path
) -> None:
    ref = resolve_model(adapter(tiny_model), home)
    made = export(ref, tmp_path / "apart", "adapter")
    text = "".join(
        (made.folder / n).read_text(encoding="utf-8") for n, _ in made.files if n.endswith(("json", "md"))
    )
    assert str(tiny_model.parent) not in text
    assert "license: other" in text
    assert "unknown: nothing says until when" in text
    assert not (made.folder / "base").exists()
    assert commands(made.facts, made.folder, tiny_model)["vllm"].startswith(
        f"vllm serve {tiny_model} --enable-lora"
    )


def test_command_lines_fit_the_kind(home: Home, adapter: MakeAdapter, tmp_path: Path) -> None:
    ref = resolve_model(adapter(), home)
    merged, apart = describe(ref, "merged"), describe(ref, "adapter")
    folder = tmp_path / "a folder"
    lines = commands(merged, folder)
    assert lines["transformers"] == f"transformers serve '{folder}' --host 127.0.0.1 --port 8000"
    assert lines["stockllm"].endswith(f"'openai:http://127.0.0.1:8000/v1#{folder}'")
    assert "transformers" not in commands(apart, folder)
    assert "--max-lora-rank 8 --lora-modules stockllm-llama-five-lora=" in commands(apart, folder)["vllm"]


def test_made_again_it_is_left_as_it_is(home: Home, tmp_path: Path) -> None:
    ref, target = resolve_model("llama", home), tmp_path / "base"
    first = export(ref, target, "merged")
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    assert export(ref, target, "merged") == first
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("ewma", "merged", "is a formula and no model"),
        ("llama", "adapter", "export it with --merged"),
        ("openai:http://127.0.0.1:9/v1#m", "merged", "keeps its weights to itself"),
    ],
)
def test_what_cannot_be_exported(home: Home, tmp_path: Path, name: str, kind: Kind, sentence: str) -> None:
    with pytest.raises((UsageError, ModelUnavailable), match=sentence) as raised:
        export(resolve_model(name, home), tmp_path / "new", kind)
    assert raised.value.zh
    assert not (tmp_path / "new").exists()


def test_what_stands_before_prompts_is_not_merged(home: Home, adapter: MakeAdapter, tmp_path: Path) -> None:
    ref = resolve_model(adapter(method="prefix"), home)
    with pytest.raises(UsageError, match="cannot be merged into weights"):
        export(ref, tmp_path / "new", "merged")
    assert commands(describe(ref, "adapter"), tmp_path) == {}


def test_an_adapter_for_another_base_is_refused(
    home: Home, adapter: MakeAdapter, tiny_model: Path, tmp_path: Path
) -> None:
    name = adapter(tiny_model).partition("+")[2]
    with pytest.raises(ModelUnavailable, match="other weights"):
        export(resolve_model(f"llama+{name}", home), tmp_path / "new", "adapter")


def test_a_folder_with_something_in_it_is_left_alone(home: Home, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    for target in (tmp_path / "there", tmp_path / "there" / "mine.txt"):
        with pytest.raises(UsageError, match="holds something else"):
            export(resolve_model("llama", home), target, "merged")
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["mine.txt"]


def test_a_failure_halfway_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_write_training", full)
    with pytest.raises(StoreError, match="No space left on device"):
        export(resolve_model("llama", home), tmp_path / "out" / "new", "merged")
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_are_what_is_sampled_here(home: Home, adapter: MakeAdapter, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from stockllm.forecaster.models.registry import load_model

    ref = resolve_model(adapter(), home)
    made = export(ref, tmp_path / "merged", "merged")
    written = load_file(made.folder / "model.safetensors")
    for name, weight in load_model(ref).model.state_dict().items():
        if name in written:
            assert np.array_equal(written[name], weight.numpy()), name
    assert made.facts.dtype == "float32"
