"""Paths in step compute what transformers computes; whatever does not fit goes to the other decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.encoding.words import Words
from stockllm.forecaster.models.engines import prepare_imports, quiet_imports
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve

prepare_imports()
with quiet_imports():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    from stockllm.forecaster.models import lockstep
    from stockllm.forecaster.models.lockstep import Lockstep, plain
    from stockllm.forecaster.models.methods import LoraOptions, fresh
    from stockllm.forecaster.sampling import sample as sampling
    from stockllm.forecaster.sampling.sample import sample

Walk = Callable[..., BarSeries]
WORDS, LENGTH, PATHS = 61, 9, 3
SCALED_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def llama(kv_heads: int = 2, **options: Any) -> Any:
    """A random Llama whose attention is far from even, and whose norms are not all one."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=kv_heads, initializer_range=0.2, **options,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model


def assert_agrees(model: Any) -> None:
    """Logits behind three prompts, and behind what each of nine paths says then, one or more at a time."""
    swift = plain(model, 40)
    assert swift is not None
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(WORDS, (3, LENGTH), generator=generator)
    decoder = Lockstep(swift, texts.tolist(), PATHS, 12)
    texts = texts.repeat_interleave(PATHS, dim=0)
    for more in (0, 1, 4, 1, 2):
        if more:
            said = torch.randint(WORDS, (len(texts), more), generator=generator)
            texts = torch.cat((texts, said), dim=1)
            decoder.advance(said)
        with torch.inference_mode():
            wanted = model(input_ids=texts).logits[:, -1]
        torch.testing.assert_close(decoder.logits(0, WORDS), wanted, atol=2e-4, rtol=0)
        torch.testing.assert_close(decoder.logits(7, 5), wanted[:, 7:12], atol=2e-4, rtol=0)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_agree_with_transformers(kv_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Prompts are read in parts where there are many.
    monkeypatch.setattr(lockstep, "PREFILL", 2 * LENGTH)
    assert_agrees(llama(kv_heads))


def test_with_tied_embeddings_and_scaled_positions() -> None:
    assert_agrees(llama(rope_parameters=SCALED_ROPE, tie_word_embeddings=True, max_position_embeddings=64))


def test_with_an_adapter_that_is_merged() -> None:
    options = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    assert_agrees(get_peft_model(llama(), options).eval().merge_and_unload())


def test_weights_that_change_are_taken_up() -> None:
    model = llama()
    assert_agrees(model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(-2)
    assert_agrees(model)
    # More positions than it was made for are made anew.
    assert len(plain(model, 40).cos) == 40  # type: ignore[union-attr]
    assert len(plain(model, 50).cos) == 50  # type: ignore[union-attr]
    assert plain(model, 45) is plain(model, 50)


@pytest.mark.parametrize("kind", ["prefix", "prompt", "p-tuning"])
def test_what_stands_before_a_prompt_does_not_fit(kind: str) -> None:
    assert plain(fresh(llama(), LoraOptions(0, 0, 0.0, 1, 64, method=kind, virtual_tokens=5)), 40) is None


def test_other_kinds_of_model_do_not_fit() -> None:
    options = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    assert plain(get_peft_model(llama(), options), 40) is None
    assert plain(llama(attention_bias=True), 40) is None
    assert plain(llama(mlp_bias=True), 40) is None
    assert plain(llama(hidden_act="gelu"), 40) is None
    assert plain(GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2)), 40) is None
    other = llama()
    other.model.layers[2].mlp.down_proj = torch.nn.Identity()
    assert plain(other, 40) is None


# --- in sampling ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> tuple[Any, Any]:
    """A random Llama that is by far not as even as a fresh one, and its tokenizer."""
    found = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return found.eval(), AutoTokenizer.from_pretrained(tiny_model)


def window(walk: Walk, seed: int, code: str, past: int = 6, opened: int | None = None) -> Window:
    series = replace(walk(seed, start=490.0), code=code)
    dates = default_calendar().next_sessions(series.dates[-1], 3)
    rng = np.random.default_rng(seed)
    words = Words(rng.integers(-1, 25, (past + 1, 4)), rng.integers(-1, 25, 4))
    return replace(open_window(series, resolve(code), past, dates), words=words, opened=opened)


@pytest.mark.parametrize("opened", [False, True])
def test_both_decoders_draw_the_same_paths(
    model: tuple[Any, Any], walk: Walk, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    windows = [window(walk, seed, code) for seed, code in ((1, "2330"), (2, "2317"), (3, "3711"))]
    if opened:
        windows = [
            replace(each, opened=round(each.history.close[-1] * 100) if i else None)
            for i, each in enumerate(windows)
        ]
    used: list[int] = []

    class Watched(Lockstep):
        def __init__(self, *arguments: Any) -> None:
            used.append(len(arguments[1]))
            super().__init__(*arguments)

    monkeypatch.setattr(lockstep, "Lockstep", Watched)
    swift = sample(*model, windows, paths=25, seed=7)
    assert used == [3]
    # Paths that do not fit beside each other are sampled in parts.
    monkeypatch.setattr(sampling, "LOCKSTEP_ROWS", 10)
    parts = sample(*model, windows, paths=25, seed=7)
    assert len(used) > 2
    used.clear()
    monkeypatch.setattr(sampling, "_lockstep", lambda *_: None)
    slow = sample(*model, windows, paths=25, seed=7)
    assert used == []
    for each, one, part, other in zip(windows, swift, parts, slow, strict=True):
        if each.opened:
            assert (one.prices[:, 0, 0] == each.opened).all()
        for found in (part, other):
            # Sums in another order may tip a draw that lies on an edge, so not every path need agree.
            same = (one.prices == found.prices).all(axis=(1, 2)) & (one.volumes == found.volumes).all(axis=1)
            assert same.mean() >= 0.9


def test_what_is_not_in_step_is_decoded_otherwise(
    model: tuple[Any, Any], walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise AssertionError("not in step")

    monkeypatch.setattr(lockstep.Lockstep, "__init__", none)
    uneven = [window(walk, 1, "2330", past=5), window(walk, 2, "2317", past=8)]
    for windows, options in (
        (uneven, {}), (uneven[:1], {"version": 1}), (uneven[:1], {"prompt": "reference"}),
    ):  # fmt: skip
        for asked, paths in zip(windows, sample(*model, windows, paths=2, seed=1, **options), strict=True):
            assert paths.prices.shape == (2, len(asked.future_dates), 4)


def test_the_words_and_the_temperature_count(model: tuple[Any, Any], walk: Walk) -> None:
    asked = window(walk, 1, "2330")
    other = replace(asked, words=Words.unknown(asked.past))
    one, two = (sample(*model, [each], paths=20, seed=1)[0].prices for each in (asked, other))
    assert (one != two).any()
    cold, hot = (
        sample(*model, [asked], paths=200, seed=7, temperature=heat)[0].prices[:, 0, 0]
        for heat in (0.05, 3.0)
    )
    assert len(set(cold.tolist())) < len(set(hot.tolist())) / 2
