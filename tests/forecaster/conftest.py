"""A model small enough to train in a test, a store to train it on, tokenizers and made-up series."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from stockllm.data.paths import Home
from stockllm.data.records import Bar, BarSeries
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.ticks import limits, round_to_tick

FIRST = date(2025, 1, 2)

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some 40,000 parameters with the embedded model's kind of tokenizer."""
    from stockllm.forecaster.models.engines import prepare_imports, quiet_imports

    prepare_imports()
    with quiet_imports():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

    from stockllm.forecaster.encoding.tokenizer import build_tokenizer
    from stockllm.forecaster.pretraining.pretrain import sample_prompts

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = build_tokenizer(sample_prompts(), merges=64)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=4096,
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


@pytest.fixture(scope="session")
def fill_home() -> Callable[..., None]:
    """``fill_home(home, codes, days)``."""
    return fill


@pytest.fixture(scope="session")
def embedded_tokenizer() -> Any:
    """The tokenizer that every base model of ours is trained with."""
    from stockllm.forecaster.encoding.tokenizer import build_tokenizer
    from stockllm.forecaster.pretraining.pretrain import sample_prompts

    return build_tokenizer(sample_prompts())


@pytest.fixture(scope="session")
def llama3_tokenizer() -> Any:
    """The real Llama-3 tokenizer, made offline from the file in the package llama-models."""
    from llama_models.llama3.tokenizer import Tokenizer
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    from stockllm.forecaster.encoding.tokenizer import BEGIN_OF_TEXT, CHAT_TEMPLATE, END_OF_TURN, PADDING

    special = list(Tokenizer.get_instance().special_tokens)
    file = resources.files("llama_models") / "llama3" / "tokenizer.model"
    with resources.as_file(file) as path:
        converted = TikTokenConverter(str(path), extra_special_tokens=special).converted()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=converted, bos_token=BEGIN_OF_TEXT, eos_token=END_OF_TURN, pad_token=PADDING
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session", params=["embedded", "llama3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Each of the two tokenizers in turn."""
    return request.getfixturevalue(f"{request.param}_tokenizer")


@pytest.fixture(scope="session")
def walk() -> Callable[..., BarSeries]:
    """``walk(seed, days, start, sigma)``: a series on its ticks and inside its limits.

    ``start`` in TWD. About one day in ten is locked at a limit, one in twenty has a reference of its
    own, as on an ex-date.
    """

    def make(
        seed: int, days: int = 60, start: float = 100.0, sigma: float = 0.02, wild: bool = True
    ) -> BarSeries:
        rng = np.random.default_rng(seed)
        rows = []
        reference = int(round_to_tick(max(100, round(start * 100))))
        for day in range(days):
            if wild and day and rng.random() < 0.05:
                reference = int(round_to_tick(max(100, round(reference * rng.uniform(0.85, 1.0)))))
            down, up = limits(reference)
            drawn = np.rint(reference * np.exp(rng.normal(0, [sigma / 2, sigma]))).astype(np.int64)
            opened, close = np.clip(round_to_tick(drawn), down, up).tolist()
            if wild and rng.random() < 0.1:
                close = (down, up)[int(rng.integers(2))]
            stretch = np.abs(rng.normal(0, sigma / 2, 2))
            high = min(up, round_to_tick(round(max(opened, close) * (1 + stretch[0]))))
            low = max(down, round_to_tick(round(min(opened, close) * (1 - stretch[1]))))
            rows.append((opened, max(high, opened, close), min(low, opened, close), close, reference))
            reference = close
        table = np.array(rows, dtype=np.float64).T / 100
        volume = np.rint(np.exp(rng.normal(14, 0.5, days)))
        dates = default_calendar().next_sessions(FIRST, days)
        return BarSeries("2330", dates, *table[:4], volume, table[4])

    return make
