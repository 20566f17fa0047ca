"""The shared prompt cache computes what transformers computes."""

from __future__ import annotations

from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.models.engines import prepare_imports, quiet_imports

prepare_imports()
with quiet_imports():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    from stockllm.forecaster.models import llama as forward
    from stockllm.forecaster.models.llama import SharedPrompts
    from stockllm.forecaster.models.methods import LoraOptions, fresh

WORDS = 61
LENGTHS = (9, 3, 14)
PATHS = 3
SCALED_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def llama(kv_heads: int = 2, **options: Any) -> Any:
    """A random Llama whose attention is far from even, so that a mistake in it shows."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        initializer_range=0.2,
        **options,
    )
    return LlamaForCausalLM(config).eval()


def prompts(seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(WORDS, (n,), generator=generator).tolist() for n in LENGTHS]


def plainly(model: Any, texts: list[list[int]]) -> torch.Tensor:
    """The logits behind each text, one plain forward pass a text."""
    with torch.inference_mode():
        return torch.stack([model(input_ids=torch.tensor([text])).logits[0, -1] for text in texts])


def grow(decoder: SharedPrompts, texts: list[list[int]], seed: int, ragged: bool) -> None:
    """Append random tokens to the decoder and to ``texts``: one to every row, or 1 to 4 to some."""
    generator = torch.Generator().manual_seed(seed)
    width = 4 if ragged else 1
    rows = torch.arange(len(texts))
    if ragged:
        rows = rows[torch.rand(len(texts), generator=generator) < (0.2 if seed % 2 else 0.8)]
        rows = rows if len(rows) else torch.tensor([1])
    tokens = torch.randint(WORDS, (len(rows), width), generator=generator)
    counts = torch.randint(1, width + 1, (len(rows),), generator=generator)
    for row, said, count in zip(rows.tolist(), tokens.tolist(), counts.tolist(), strict=True):
        texts[row] += said[:count]
    decoder.advance(rows, tokens, counts)


def assert_agrees(model: Any, base: Any, ragged: bool) -> None:
    decoder = SharedPrompts(base, prompts(), PATHS, 24)
    texts = [list(prompt) for prompt in prompts() for _ in range(PATHS)]
    for step in range(6):
        torch.testing.assert_close(decoder.logits(), plainly(model, texts), atol=1e-4, rtol=0)
        grow(decoder, texts, step, ragged)
    torch.testing.assert_close(decoder.logits(), plainly(model, texts), atol=1e-4, rtol=0)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_agree_with_transformers(kv_heads: int, ragged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SCORES", 300)
    model = llama(kv_heads)
    assert_agrees(model, model, ragged)


def test_with_tied_embeddings_and_scaled_positions() -> None:
    model = llama(rope_parameters=SCALED_ROPE, tie_word_embeddings=True, max_position_embeddings=64)
    assert_agrees(model, model, True)


@pytest.mark.parametrize("merged", [False, True])
def test_with_an_adapter(merged: bool) -> None:
    plain = llama()
    before = plainly(plain, prompts())
    options = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(plain, options).eval()
    after = plainly(model, prompts())
    assert (after - before).abs().max() > 0.1
    base = model.merge_and_unload() if merged else model.get_base_model()
    assert_agrees(base if merged else model, base, True)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", ["prefix", "prompt", "p-tuning"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_with_something_before_the_prompt(kind: str, kv_heads: int, ragged: bool) -> None:
    plain = llama(kv_heads)
    before = plainly(plain, prompts())
    model = fresh(plain, LoraOptions(0, 0, 0.0, 1, 64, method=kind, virtual_tokens=5)).eval()
    with torch.no_grad():
        # As after a long training: far from where it began.
        torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight, std=0.7)
    assert (plainly(model, prompts()) - before).abs().max() > 0.1
    decoder = SharedPrompts(model, prompts(), PATHS, 24)
    texts = [list(prompt) for prompt in prompts() for _ in range(PATHS)]
    for step in range(5):
        ours = torch.log_softmax(decoder.logits(), dim=-1)
        theirs = torch.log_softmax(plainly(model, texts), dim=-1)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
        grow(decoder, texts, step, ragged)


def test_some_rows_and_columns_only() -> None:
    model = llama()
    decoder = SharedPrompts(model, prompts(), PATHS, 8)
    rows, columns = torch.tensor([0, 4, 8]), torch.tensor([5, 6, 60])
    torch.testing.assert_close(decoder.logits(rows, columns), decoder.logits()[rows][:, columns])


def test_paths_do_not_see_each_other() -> None:
    model = llama()
    ends = []
    for other in (1, 2):
        decoder = SharedPrompts(model, prompts(), PATHS, 8)
        for _ in range(3):
            tokens = torch.full((PATHS * len(LENGTHS), 1), other)
            tokens[4] = 7
            decoder.advance(torch.arange(len(tokens)), tokens, torch.ones(len(tokens), dtype=torch.long))
        ends.append(decoder.logits())
    torch.testing.assert_close(ends[0][4], ends[1][4])
    assert (ends[0][3] - ends[1][3]).abs().max() > 0.01


def test_one_that_waits_stays_where_it_is() -> None:
    model = llama()
    decoder = SharedPrompts(model, prompts(), PATHS, 8)
    before = decoder.logits().clone()
    for _ in range(8):
        decoder.advance(torch.tensor([2]), torch.tensor([[3]]), torch.tensor([1]))
    after = decoder.logits()
    others = [row for row in range(len(before)) if row != 2]
    torch.testing.assert_close(after[others], before[others], atol=0, rtol=0)
    assert (after[2] - before[2]).abs().max() > 0.01


def test_half_precision_stays_close() -> None:
    ends = []
    for model in (llama(), llama().to(torch.bfloat16)):
        decoder = SharedPrompts(model, prompts(), PATHS, 8)
        rows = torch.arange(PATHS * len(LENGTHS))
        decoder.advance(rows, rows[:, None], torch.ones_like(rows))
        ends.append(decoder.logits())
    assert ends[1].dtype == torch.float32
    assert torch.corrcoef(torch.stack([end.flatten() for end in ends]))[0, 1] > 0.999


def test_another_architecture_is_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ModelUnavailable, match="Only Llama models can be sampled, and this is a gpt2"):
        SharedPrompts(model, prompts(), 1, 1)
