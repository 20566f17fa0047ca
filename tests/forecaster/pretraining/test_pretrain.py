"""The recipe of the base model, on a model so small that a second of it is enough."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import NotEnoughHistory, TrainingStopped, UsageError
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import WARM_UP, encode
from stockllm.forecaster.encoding.prompts import COMPACT_SYSTEM, REFERENCE_SYSTEM, compact_line
from stockllm.forecaster.models.registry import weights_hash
from stockllm.forecaster.pretraining.batches import Batches, mirrored
from stockllm.forecaster.pretraining.pretrain import drop_residuals, new_model, pretrain, split_companies
from stockllm.forecaster.pretraining.recipe import Recipe

Walk = Callable[..., BarSeries]
TINY = Recipe(
    hidden=16,
    layers=1,
    heads=2,
    feed_forward=24,
    steps=3,
    batch_tokens=300,
    longest_past=30,
    hold_out=1,
)


@pytest.fixture(scope="module")
def market(walk: Walk) -> list[BarSeries]:
    return [replace(walk(seed, days=90), code=str(2330 + seed)) for seed in range(4)]


def last_day(market: list[BarSeries]) -> date:
    return market[0].dates[-1]


def test_plain_transformers_loads_what_comes_out(market: list[BarSeries], tmp_path: Path) -> None:
    until = last_day(market)
    target = pretrain(market, tmp_path / "new" / "base", TINY, until=until, held_out=["1101"])
    facts = json.loads((target / "training.json").read_text("utf-8"))
    assert facts["data_end"] == until.isoformat()
    assert (facts["companies"], facts["held_out"]) == (4, ["1101"])
    assert facts["days"] == 4 * (90 - WARM_UP)
    assert facts["steps"] >= 1
    assert facts["recipe"]["hidden"] == 16
    card = (target / "README.md").read_text("utf-8")
    assert until.isoformat() in card
    assert not list(target.parent.glob("*.checkpoint*"))
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ask = [{'role': 'user', 'content': 'volatility 1.85%\\n+1 +2 -3 +0 12'}]\n"
        "given = tokenizer.apply_chat_template(\n"
        "    ask, add_generation_prompt=True, return_dict=True, return_tensors='pt')\n"
        "assert model(**given).logits.isfinite().all()\n"
        "assert model.config.vocab_size == len(tokenizer)\n"
        "assert model.dtype == torch.bfloat16\n"
        "assert not [name for name in sys.modules if name.startswith('stockllm')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_stopped_training_goes_on_as_if_it_never_had(market: list[BarSeries], tmp_path: Path) -> None:
    target = tmp_path / "base"
    until = last_day(market)
    recipe = replace(TINY, steps=45)

    def interrupt(_facts: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingStopped, match=r"20 of 45 steps: run .* again .*base\.checkpoint"):
        pretrain(market, target, recipe, until=until, report=interrupt)
    assert (tmp_path / "base.checkpoint").is_file()
    assert not (target / "model.safetensors").exists()
    for other in (replace(recipe, seed=1), replace(recipe, hidden=32)):
        with pytest.raises(UsageError, match="another recipe or other data"):
            pretrain(market, target, other, until=until)
    with pytest.raises(UsageError, match="another recipe or other data"):
        pretrain(market[:3], target, recipe, until=until)
    told: list[dict[str, Any]] = []
    pretrain(market, target, recipe, until=until, report=told.append)
    facts = json.loads((target / "training.json").read_text("utf-8"))
    assert facts["steps"] == 45
    assert [report["step"] for report in told] == [40]
    whole = pretrain(market, tmp_path / "whole", recipe, until=until)
    assert weights_hash(target) == weights_hash(whole)
    assert not (tmp_path / "base.checkpoint").exists()


def test_it_learns(market: list[BarSeries], tmp_path: Path) -> None:
    """Within 2,000 steps, and mostly within a hundred, the loss has fallen by a tenth."""
    told: list[float] = []

    def watch(facts: dict[str, Any]) -> None:
        told.append(facts["loss"])
        if told[-1] < told[0] * 0.9:
            signal.raise_signal(signal.SIGINT)

    eager = replace(TINY, steps=2000, learning_rate=0.05)
    with pytest.raises(TrainingStopped):
        pretrain(market, tmp_path / "base", eager, until=last_day(market), report=watch)


def test_nothing_held_out_or_later_is_read(market: list[BarSeries], tmp_path: Path) -> None:
    until = last_day(market)
    for later, held_out in ((until - timedelta(days=1), []), (until, ["2331"])):
        with pytest.raises(UsageError, match="or a held-out company"):
            pretrain(market, tmp_path / "base", TINY, until=later, held_out=held_out)
    assert list(tmp_path.iterdir()) == []


def test_long_histories_take_their_share(
    market: list[BarSeries], walk: Walk, embedded_tokenizer: Any
) -> None:
    recipe = replace(TINY, history_share=0.3)
    old = [replace(walk(9, days=400), code="2330")]
    batches = Batches(market, old, embedded_tokenizer, recipe)
    drawn = [batches._company(30) for _ in range(2000)]
    assert 0.25 < drawn.count(len(market)) / len(drawn) < 0.35
    # Windows longer than the short series come from the histories alone.
    assert {batches._company(200) for _ in range(20)} == {len(market)}
    alone = Batches(market, [], embedded_tokenizer, recipe)
    assert {alone._company(30) for _ in range(200)} == set(range(len(market)))


def test_a_folder_that_cannot_be_made(market: list[BarSeries], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        pretrain(market, tmp_path / "file" / "base", TINY, until=last_day(market))


def test_companies_are_held_out_by_the_seed_and_some_never() -> None:
    codes = [str(code) for code in range(2000, 2050)]
    never = codes[:41]
    train, held = split_companies(codes, never, Recipe(hold_out=5))
    assert sorted(train + held) == codes
    assert len(held) == 5
    assert not set(held) & set(never)
    assert split_companies(list(reversed(codes)), never, Recipe(hold_out=5)) == (train, held)
    assert split_companies(codes, never, Recipe(hold_out=5, seed=1))[1] != held
    assert split_companies(never, never, Recipe(hold_out=0)) == (never, [])
    for count in (10, -1):
        with pytest.raises(UsageError, match=f"{count} companies cannot be held out of 9"):
            split_companies(codes, never, Recipe(hold_out=count))


# --- batches -------------------------------------------------------------------------------------


def batches(embedded_tokenizer: Any, market: list[BarSeries], **options: Any) -> Batches:
    return Batches(market, [], embedded_tokenizer, replace(TINY, **options))


def test_compact_batches_hold_windows_of_the_data(embedded_tokenizer: Any, market: list[BarSeries]) -> None:
    supply = batches(embedded_tokenizer, market, reference_share=0.0, mirror_share=0.0)
    days = set()
    for series in market:
        encoded = encode(series)
        days |= {compact_line(s, b) for s, b in zip(encoded.steps[20:], encoded.buckets[20:], strict=True)}
    sizes = set()
    for _ in range(60):
        rows = supply.batch()
        assert len({len(row) for row in rows}) == 1
        for row in rows:
            text = embedded_tokenizer.decode(row)
            assert text.startswith(
                f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{COMPACT_SYSTEM}"
            )
            _, _, user, answer = text.split("<|start_header_id|>")
            past = user.removesuffix("<|eot_id|>").split("\n")[3:-1]
            future = answer.removesuffix("<|eot_id|>").split("\n")[2:]
            assert set(past) | set(future) <= days
            sizes.add((len(past), len(future)))
    assert {past for past, _ in sizes} <= {5, 20, 30, 60}
    assert {future for _, future in sizes} == {1, 5, 20}


def test_reference_batches(embedded_tokenizer: Any, market: list[BarSeries]) -> None:
    (row, *_) = batches(embedded_tokenizer, market, reference_share=1.0).batch()
    text = embedded_tokenizer.decode(row)
    assert REFERENCE_SYSTEM in text
    assert "price is: Date:\n 2025-" in text


def test_short_companies_are_served_and_too_short_ones_refused(
    embedded_tokenizer: Any, market: list[BarSeries]
) -> None:
    short = [series[:60] for series in market]
    supply = batches(embedded_tokenizer, [*short, market[0][:59]], longest_past=100)
    assert len(supply.series) == 4
    for _ in range(30):
        assert supply.batch()
    with pytest.raises(NotEnoughHistory, match="the 60 days that pretraining needs"):
        batches(embedded_tokenizer, [series[:59] for series in market])


@given(seed=st.integers(0, 1000))
def test_a_mirrored_day_is_a_day(walk: Walk, seed: int) -> None:
    days = encode(walk(seed))
    turned = mirrored(days)
    opened, high, low, close = turned.steps.T
    assert (low <= np.minimum(opened, close)).all()
    assert (np.maximum(opened, close) <= high).all()
    assert (turned.steps[:, 3] == -days.steps[:, 3]).all()
    assert (mirrored(turned).steps == days.steps).all()


def test_dropout_is_for_training_alone(embedded_tokenizer: Any) -> None:
    import torch

    model = new_model(TINY, embedded_tokenizer)
    drop_residuals(model, 0.5)
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        calm = [model.eval()(ids).logits for _ in range(2)]
        wild = [model.train()(ids).logits for _ in range(2)]
    torch.testing.assert_close(*calm)
    assert (wild[0] - wild[1]).abs().max() > 0
