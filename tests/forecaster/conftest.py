"""A model small enough to train in a test, and a store to train it on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.ticks import round_to_tick

FIRST = date(2025, 1, 2)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some 40,000 parameters with the embedded model's kind of tokenizer."""
    from stockllm.forecaster.engines import prepare_imports, quiet_imports

    prepare_imports()
    with quiet_imports():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

    from stockllm.forecaster.prompts import COMPACT_SYSTEM, REFERENCE_SYSTEM
    from stockllm.forecaster.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = build_tokenizer(iter([COMPACT_SYSTEM, REFERENCE_SYSTEM] * 4), merges=64)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fill(home: Home, codes: tuple[str, ...] = ("2330", "2317"), days: int = 150) -> None:
    """A simulated store with a random walk for each company."""
    sessions = default_calendar().next_sessions(FIRST, days)
    with Store.open(home) as store:
        store.set_simulated(True)
        for code in codes:
            rng = np.random.default_rng(int(code))
            close = 50_000 * np.exp(np.cumsum(rng.normal(0, 0.02, days)))
            opens = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.005, days))
            high = np.maximum(opens, close) * 1.005
            low = np.minimum(opens, close) * 0.995
            prices = round_to_tick(np.stack([opens, high, low, close], axis=1).astype(np.int64)).tolist()
            volumes = rng.integers(1_000_000, 9_000_000, days).tolist()
            store.bars.put(
                Bar(code, day, *row, volume, "test")
                for day, row, volume in zip(sessions, prices, volumes, strict=True)
            )


@pytest.fixture
def filled_home(tmp_path: Path) -> Home:
    """A home whose store holds two companies with 150 days each."""
    home = Home(tmp_path / "home")
    fill(home)
    return home


@pytest.fixture
def fill_home() -> Callable[..., None]:
    """``fill_home(home, codes, days)``."""
    return fill
