"""Alignment end to end on a tiny model: each method leaves an adapter that forecasts, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable, StockllmError, TrainingStopped, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.alignment import align as module
from stockllm.forecaster.alignment import trainers as align_trainers
from stockllm.forecaster.alignment.align import align
from stockllm.forecaster.alignment.evaluate import before_after
from stockllm.forecaster.alignment.options import AlignOptions
from stockllm.forecaster.alignment.outcomes import gather, pairs
from stockllm.forecaster.evaluation.cases import Request
from stockllm.forecaster.evaluation.evaluate import evaluate
from stockllm.forecaster.evaluation.scoring import score_due
from stockllm.forecaster.forecast import forecast
from stockllm.forecaster.models import cards
from stockllm.forecaster.models.registry import base_model_dir, list_adapters, resolve_model
from stockllm.forecaster.sampling.cutoffs import cutoff

CODES = ("2330", "2317")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, fill_home: Any) -> Home:
    """A home with ten scored forecasts of the tiny model; `store` opens a copy of it."""
    home = Home(tmp_path_factory.mktemp("ledger"))
    fill_home(home)
    with Store.open(home) as store:
        for day in store.bars.days("2330")[-45:-30:3]:
            forecast(store, CODES, model=str(tiny_model), as_of=day, paths=8, horizon=2, today=day)
        score_due(store)
    return home


@pytest.fixture
def store(ledger: Home, tmp_path: Path) -> Iterator[Store]:
    shutil.copytree(ledger.root, tmp_path / "home")
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def options(tiny_model: Path, method: str, **more: Any) -> AlignOptions:
    given: dict[str, Any] = {
        "model": str(tiny_model), "name": "mine", "max_steps": 2, "batch_size": 2, "generations": 4,
        "margin": 0.1, "learning_rate": 1e-3, "rank": 4,
    }  # fmt: skip
    return AlignOptions(method, **(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo", "grpo"])
def test_each_method_leaves_an_adapter(store: Store, tiny_model: Path, method: str) -> None:
    said: list[Any] = []
    # What has never been taught candles writes none, and GRPO learns from what is written.
    model = "llama" if method == "grpo" else str(tiny_model)
    folder = base_model_dir() if method == "grpo" else tiny_model
    made = align(store, options(tiny_model, method, model=model, entries="all"), said.append)
    assert made.model == f"{model}+mine"
    # Nobody forecasts with it who has not named it.
    assert resolve_model("auto", store.home).adapter is None
    assert [info.name for info in list_adapters(store.home)] == ["mine"]
    assert sorted(p.name for p in store.home.adapters.iterdir()) == ["mine"]
    assert not (made.path / "ref").exists()
    last = max(store.ledger.get(row.id).dates[-1] for row in store.ledger.list())
    assert made.card.data_end == last.isoformat()
    assert made.card == cards.read_card(made.path)
    assert made.card.flags["method"] == method
    assert made.card.simulated
    assert made.card.examples["used"] > 0
    # A fresh reading by PEFT alone, and it is not the base any more.
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder)
    plain = PeftModel.from_pretrained(base, made.path)
    assert any(bool(torch.any(w != 0)) for n, w in plain.named_parameters() if "lora_B" in n)
    # It forecasts by its name, and no evaluation of what its outcomes read takes it for a test.
    day = store.bars.days("2330")[-10]
    (entry,) = forecast(store, ["2330"], model=made.model, as_of=day, paths=3, horizon=2, today=day)
    assert entry.forecast.adapter == "mine"
    assert cutoff(resolve_model(made.model, store.home), simulated=True).day == last
    with pytest.raises(UsageError, match="no test"):
        evaluate(store, Request(last, store.bars.days("2330")[-1], (made.model,), CODES, (1,), 4))
    assert said[-1].state == "finished"
    assert store.runs.list()[0].state == "done"


def test_pairs_are_told_apart_after_some_steps(store: Store, tiny_model: Path) -> None:
    made = align(store, options(tiny_model, "dpo", max_steps=12, learning_rate=5e-3))
    assert made.figures["accuracy"] == 1.0
    assert (made.card.losses["last_loss"] or 1) < (made.card.losses["first_loss"] or 0)


def test_grpo_has_nothing_to_compare_where_no_answer_is_candles(store: Store, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="None of the 8 answers"):
        align(store, options(tiny_model, "grpo", max_steps=1))
    assert not list(store.home.adapters.iterdir())


def test_reward_model_judges_grpo(store: Store, tiny_model: Path) -> None:
    judge = align(store, options(tiny_model, "reward", name="judge"))
    assert judge.model == ""
    assert 0 <= judge.figures["later"] <= 1
    assert not list_adapters(store.home)
    judged = options(tiny_model, "grpo", model="llama", entries="all", reward_model="judge", max_steps=1)
    early = store.ledger.get(1).dates[-1]
    made = align(store, replace(judged, until=early))
    # It learned from what its judge had read.
    assert made.card.data_end == judge.card.data_end > early.isoformat()
    assert 0 <= made.figures["format"] <= 1
    with pytest.raises(ModelUnavailable, match=r"no reward model 'nobody' \(there: judge\)"):
        align(store, options(tiny_model, "grpo", name="other", reward_model="nobody"))
    assert [info.name for info in list_adapters(store.home)] == ["mine"]


@pytest.mark.parametrize("reference", ["start", "base"])
def test_goes_on_from_an_adapter(store: Store, tiny_model: Path, reference: Any) -> None:
    first = align(store, options(tiny_model, "dpo", name="first"))
    more = options(
        tiny_model, "dpo", model=first.model, entries="all", reference=reference, max_steps=1,
        until=store.ledger.get(5).dates[-1],
    )  # fmt: skip
    second = align(store, more)
    assert second.model == f"{tiny_model}+mine"
    assert second.card.base_hash == first.card.base_hash
    # What the first has read, the second has read, whatever it learned from itself.
    assert second.card.data_end == first.card.data_end
    assert second.card.hash != first.card.hash


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_the_trainer_reads_the_chat_as_forecasts_ask_it(
    store: Store, tiny_model: Path, tmp_path: Path, method: Any
) -> None:
    """No second start of text, no end left out: prompt and answer are the template's own tokens."""
    from transformers import AutoTokenizer

    asked = options(tiny_model, method)
    found = gather(store, asked, resolve_model(asked.model, store.home))
    made, _ = pairs(found.found, asked.margin, 1, 1)
    policy = module.policy_of(resolve_model(asked.model, store.home), asked)
    rows = align_trainers.pair_rows(made, method)
    trainer = align_trainers.build(policy, tmp_path, asked, rows, 1000)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)

    def whole(prompt: Any, answer: Any) -> list[int]:
        return list(tokenizer.apply_chat_template([*prompt, *answer], return_dict=True)["input_ids"])

    for row, read in zip(rows, trainer.train_dataset, strict=True):
        if method == "kto":
            expected = [whole(row["prompt"], row["completion"])]
            got = [read["prompt_ids"] + read["completion_ids"]]
        elif method == "dpo":
            expected = [whole(row["prompt"], row[side]) for side in ("chosen", "rejected")]
            got = [read["prompt_ids"] + read[f"{side}_ids"] for side in ("chosen", "rejected")]
        else:
            expected = [whole(row["prompt"], row[side]) for side in ("chosen", "rejected")]
            got = [read[f"{side}_input_ids"] for side in ("chosen", "rejected")]
        assert got == expected


def test_plain_head_gives_what_the_logits_give(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    torch.manual_seed(0)
    ids = torch.randint(0, model.config.vocab_size, (3, 9))
    labels = ids.clone()
    labels[:, :4] = -100
    labels[2, 7:] = -100
    shares = torch.log_softmax(model(input_ids=ids).logits[:, :-1], dim=-1)
    align_trainers.plain_head(model)
    told = model(input_ids=ids, labels=labels, fused_lm_head=True)
    asked = labels[:, 1:] != -100
    expected = shares.gather(2, ids[:, 1:, None])[..., 0].masked_fill(~asked, 0.0)
    torch.testing.assert_close(told.log_probs, expected)
    entropy = -(shares.exp() * shares).sum(-1).masked_fill(~asked, 0.0)
    torch.testing.assert_close(told.entropy, entropy)
    assert told.label_mask.equal(asked)
    assert bool((told.is_top1 == (shares.argmax(-1) == ids[:, 1:]) * asked).all())
    told.log_probs.sum().backward()
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0
    torch.testing.assert_close(torch.log_softmax(model(input_ids=ids).logits[:, :-1], -1), shares)


def test_before_and_after_on_later_days(store: Store, tiny_model: Path) -> None:
    days = store.bars.days("2330")
    last = store.ledger.get(1).dates[-1]
    asked = options(tiny_model, "dpo", until=last, max_steps=1)
    with pytest.raises(UsageError, match="are no test"):
        align(store, asked, test_from=last)
    assert not list(store.home.adapters.iterdir())
    made = align(store, asked, test_from=last + timedelta(days=1))
    request = Request(days[-4], days[-1], ("",), CODES, (1, 2), 4)
    figures = before_after(store, made.before, made.model, request)
    assert set(figures["format"]) == {made.before, made.model}
    assert set(figures["models"]) == {made.before, made.model, "ewma"}
    assert figures["format"][made.model]["answers"] == 8 * len(CODES) * 4
    assert figures["models"][made.model]["2"]["n"] == 6


def test_a_stop_or_a_full_disk_leaves_nothing(
    store: Store, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(align_trainers, "fit", stopped)
        with pytest.raises(TrainingStopped) as caught:
            align(store, options(tiny_model, "dpo"))
    assert caught.value.zh
    with monkeypatch.context() as patch:
        patch.setattr(cards, "write_card", full)
        with pytest.raises(StockllmError, match="No space left"):
            align(store, options(tiny_model, "dpo"))
    assert not list(store.home.adapters.iterdir())
    assert [run.state for run in store.runs.list()] == ["failed", "stopped"]
    assert align(store, options(tiny_model, "dpo", max_steps=1)).path.is_dir()


@pytest.mark.parametrize(
    ("more", "error", "what"),
    [
        ({"model": "ewma"}, UsageError, "no weights to align"),
        ({"model": "nothing"}, ModelUnavailable, "no model 'nothing'"),
        ({"margin": 99.0}, StockllmError, "lower the one"),
        ({"max_seq_length": 16}, StockllmError, "longer than --max-seq-length 16"),
    ],
)
def test_refusals(
    store: Store, tiny_model: Path, more: dict[str, Any], error: type[StockllmError], what: str
) -> None:
    with pytest.raises(error, match=what):
        align(store, options(tiny_model, "dpo", **more))
    assert not list(store.home.adapters.iterdir())


def test_a_name_is_taken_once(store: Store, tiny_model: Path) -> None:
    (store.home.adapters / "mine").mkdir()
    with pytest.raises(UsageError, match="already"):
        align(store, options(tiny_model, "dpo"))


def test_a_model_tuned_in_full_is_refused_in_a_sentence(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stockllm.forecaster.alignment import align as recipe
    from stockllm.forecaster.models.registry import ModelRef

    monkeypatch.setattr(recipe.cards, "read_card", lambda _folder: None)
    ref = ModelRef("base", tiny_model, "whole", tmp_path)  # no adapter_config.json
    with pytest.raises(UsageError, match="cannot be gone on from"):
        recipe._refuse(ref, options(tiny_model, "dpo"))
