"""Every way to tune: trained, gone on with, loaded by the upstream libraries alone, forecast with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable, TrainingStopped, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Task
from stockllm.forecaster.evaluation.cases import Request
from stockllm.forecaster.evaluation.evaluate import evaluate, summary
from stockllm.forecaster.models import engines, methods
from stockllm.forecaster.models.cards import read_card
from stockllm.forecaster.models.methods import LoraOptions
from stockllm.forecaster.models.registry import list_adapters, load_model, resolve_model, weights_hash
from stockllm.forecaster.training.options import TrainOptions
from stockllm.forecaster.training.progress import TrainEvent
from stockllm.forecaster.training.train import resume, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

#: All that train without CUDA.
HERE = tuple(method for method in methods.DEFAULTS if method != "qlora")
IDS = [0, 5, 40, 90, 200, 300, 17, 33]
STEPS = 6


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fill_home: Callable[..., None]) -> Home:
    home = Home(tmp_path_factory.mktemp("methods") / "home")
    fill_home(home)
    return home


@pytest.fixture(scope="module")
def store(home: Home) -> Iterator[Store]:
    with Store.open(home) as opened:
        yield opened


@pytest.fixture(scope="module")
def options(tiny_model: Path) -> TrainOptions:
    return TrainOptions(
        codes=("2330", "2317"),
        model_dir=tiny_model,
        engine="peft",
        tasks=(Task(1, 1), Task(5, 5)),
        batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=STEPS,
        save_steps=50,
        validation_windows=2,
        learning_rate=1e-2,
        report_to="none",
    )


def by(method: str, options: TrainOptions, **changes: Any) -> TrainOptions:
    """The same options for another method, with its own of what only it has."""
    own = dict.fromkeys(("rank", "lora_alpha", "lora_dropout", "virtual_tokens", "optim"))
    return replace(options, method=method, **(own | changes))


@pytest.fixture(scope="module")
def tuned(store: Store, options: TrainOptions) -> dict[str, Path]:
    """The folder that each method left, by method."""
    return {method: train(store, by(method, options, name=f"by-{method}")).path for method in HERE}


# --- what is left --------------------------------------------------------------------------------

UPSTREAM = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, folders, ids = sys.argv[1], json.loads(sys.argv[2]), torch.tensor([json.loads(sys.argv[3])])
answer = {}
for method, folder in folders.items():
    if method == "full":
        model = AutoModelForCausalLM.from_pretrained(folder)
    else:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    with torch.inference_mode():
        logits = model.eval()(input_ids=ids).logits[0, -1]
        limits = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
        said = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **limits)
    answer[method] = [logits.tolist(), said.shape[1], AutoTokenizer.from_pretrained(folder).chat_template]
assert not [name for name in sys.modules if name.startswith("stockllm")]
print("ANSWER" + json.dumps(answer))
"""


def test_a_fresh_process_with_the_upstream_libraries_alone_runs_each(
    tuned: dict[str, Path], tiny_model: Path, home: Home
) -> None:
    import torch

    folders = json.dumps({method: str(folder) for method, folder in tuned.items()})
    command = [sys.executable, "-c", UPSTREAM, str(tiny_model), folders, json.dumps(IDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.split("ANSWER")[1])
    assert answers.keys() == set(HERE)
    ids = torch.tensor([IDS])
    with torch.inference_mode():
        plain = load_model(resolve_model(str(tiny_model), home)).model(input_ids=ids).logits[0, -1]
        for method, (logits, length, template) in answers.items():
            ours = load_model(resolve_model(f"{tiny_model}+by-{method}", home)).model(input_ids=ids)
            torch.testing.assert_close(ours.logits[0, -1], torch.tensor(logits), atol=1e-4, rtol=0)
            assert (ours.logits[0, -1] - plain).abs().max() > 1e-5, method
            assert template, method
            assert length in (len(IDS) + 3, len(IDS) + 3 + 16)


def test_the_card_says_how_it_was_made(tuned: dict[str, Path], home: Home, tiny_model: Path) -> None:
    counts = {}
    for method, folder in tuned.items():
        card = read_card(folder)
        counts[method] = card.trainable
        assert (card.method, card.steps, card.hash) == (method, STEPS, weights_hash(folder))
        assert card.base_hash == weights_hash(tiny_model)
        assert card.flags["method"] == method
        assert card.crps_windows == 2
        assert card.crps_base == pytest.approx(read_card(tuned["lora"]).crps_base)
        assert card.crps_adapter is not None
        words = (folder / "README.md").read_text(encoding="utf-8")
        assert f"| method | {method}, {card.trainable:,} numbers trained |" in words
        assert f"library_name: {'transformers' if method == 'full' else 'peft'}\n" in words
    # Two projections of 32 and one of 64; 16 places of 32; 16 places of 2 x 2 layers x 32.
    assert counts["ia3"] == 2 * (32 + 32 + 64)
    assert counts["prompt"] == 16 * 32
    assert counts["prefix"] == 16 * 2 * 2 * 32
    assert counts["full"] == max(counts.values())
    assert {a.name for a in list_adapters(home)} >= {f"by-{method}" for method in HERE}


def test_adalora_ends_at_the_ranks_it_was_given(tuned: dict[str, Path]) -> None:
    config = json.loads((tuned["adalora"] / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["init_r"], config["target_r"], config["total_step"]) == (24, 16, STEPS)
    ranks = [sum(kept) for kept in config["rank_pattern"].values()]
    assert len(ranks) == 2 * 7
    assert sum(ranks) <= 16 * 14
    assert sum(ranks) > 16 * 14 - 24
    assert len(set(ranks)) > 1


def test_stopped_and_gone_on_with_is_the_same_as_never_stopped(
    store: Store, options: TrainOptions, tuned: dict[str, Path]
) -> None:
    from safetensors.numpy import load_file

    def interrupt(event: TrainEvent) -> None:
        if event.step == 3 and event.loss is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    for method in HERE:
        with pytest.raises(TrainingStopped, match=f"--resume parted-{method}"):
            train(store, by(method, options, name=f"parted-{method}"), interrupt)
        parted = resume(store, f"parted-{method}").path
        (one,) = (load_file(file) for file in tuned[method].glob("*.safetensors"))
        (other,) = (load_file(file) for file in parted.glob("*.safetensors"))
        assert one.keys() == other.keys()
        assert [key for key in one if (one[key] != other[key]).any()] == [], method


def test_each_forecasts_and_is_evaluated(store: Store, tuned: dict[str, Path], tiny_model: Path) -> None:
    days = list(store.bars.traded())
    end = date.fromisoformat(read_card(tuned["lora"]).data_end)
    after = [day for day in days if day > end]
    names = tuple(f"{tiny_model}+by-{method}" for method in HERE)
    request = Request(after[0], after[10], names, ("2330",), (1, 2), paths=8, stride=5)
    found = evaluate(store, request)
    assert set(found.scores) == {*names, "ewma"}
    for name in names:
        figures = summary(found, name, 1)
        assert figures["parse_failures"] == 0
        assert figures["crps"] > 0
    # So small a model is hardly moved by the gentlest of them.
    assert len({summary(found, name, 1)["crps"] for name in names}) > 3
    # The last day of the card is read, whatever the method.
    for name in names:
        with pytest.raises(UsageError, match=rf"was trained on days up to {end}"):
            evaluate(store, replace(request, start=end, models=(name,)))


def test_what_was_tuned_on_another_base_is_refused(
    tuned: dict[str, Path], home: Home, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    weights = load_file(other / "model.safetensors")
    save_file({key: weight + 1 for key, weight in weights.items()}, other / "model.safetensors")
    for method in ("full", "prefix", "ia3"):
        with pytest.raises(ModelUnavailable, match="was trained on other weights"):
            load_model(resolve_model(f"{other}+by-{method}", home))


# --- what is asked for ---------------------------------------------------------------------------


def test_a_bottleneck_adapter_is_refused_and_why() -> None:
    from importlib.metadata import version

    with pytest.raises(
        UsageError, match=r"needs transformers 4\.57 where stockllm runs on 5; choose"
    ) as refused:
        TrainOptions(codes=("2330",), method="adapter")
    assert version("transformers").startswith("5.")
    assert refused.value.zh


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"method": "lora2"}, "--method 'lora2' is not known; choose one of lora, qlora, dora"),
        (
            {"method": "full", "rank": 8},
            "--rank says nothing to --method full: it is of lora, qlora, dora, adalora",
        ),
        ({"method": "ia3", "lora_dropout": 0.0}, "--lora-dropout says nothing to --method ia3"),
        (
            {"virtual_tokens": 4},
            "--virtual-tokens says nothing to --method lora: it is of prefix",
        ),
        ({"method": "prefix", "virtual_tokens": 0}, "--virtual-tokens is 0 and must be at least 1"),
        ({"method": "full", "load_in_4bit": True}, "--load-in-4bit and --method full exclude each other"),
        ({"method": "qlora", "load_in_8bit": True}, "--method qlora keeps the base in 4 bits"),
        ({"early_stopping": 0}, "--early-stopping is 0"),
        ({"preset": "huge"}, "--preset 'huge' is not known; choose one of auto, cpu"),
    ],
)
def test_flags_that_do_not_go_together(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        TrainOptions(codes=("2330",), **flags)
    assert sentence in str(refused.value)


def test_each_method_has_its_own_learning_rate_and_survives_a_file() -> None:
    for method in methods.DEFAULTS:
        options = TrainOptions(codes=("2330",), method=method)
        assert options.learning_rate == methods.defaults(method, embedded=True).learning_rate
        assert TrainOptions.from_document(json.loads(json.dumps(options.document()))) == options
    assert TrainOptions(codes=("2330",), method="prompt", learning_rate=0.5).learning_rate == 0.5
    assert TrainOptions(codes=("2330",)).learning_rate == 1e-3
    assert TrainOptions(codes=("2330",), model_name="another/model").learning_rate == 2e-4


def test_a_run_too_short_for_adalora(options: TrainOptions) -> None:
    with pytest.raises(UsageError, match=r"4 steps are too few for it; give it 5 or more"):
        by("adalora", options, name="short", max_steps=4)
    with pytest.raises(UsageError, match="3 steps are too few"):
        methods.begin(None, "adalora", 3)


# --- QLoRA ---------------------------------------------------------------------------------------


def test_qlora_is_refused_without_cuda(
    store: Store, options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_cuda", lambda: False)
    before = list_adapters(store.home)
    with pytest.raises(UsageError, match=r"--method qlora needs a CUDA device .* choose --method lora"):
        train(store, by("qlora", options, name="four-bits"))
    assert list_adapters(store.home) == before
    assert not (store.home.root / "runs" / "four-bits").exists()


def test_qlora_is_nf4_quantised_twice_with_a_paged_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    lora = LoraOptions(16, 8, 0.0, 1, 256, method="qlora")
    kept = engines.quantisation(lora, torch.bfloat16)
    assert (kept.load_in_4bit, kept.bnb_4bit_quant_type, kept.bnb_4bit_use_double_quant) == (
        True,
        "nf4",
        True,
    )
    assert kept.bnb_4bit_compute_dtype == torch.bfloat16
    assert engines.quantisation(replace(lora, method="lora"), torch.bfloat16) is None
    monkeypatch.setattr(engines, "_cuda", lambda: True)
    assert engines.optimiser(TrainOptions(codes=("2330",), method="qlora").optim) == (
        "paged_adamw_8bit",
        None,
    )
    config = methods.peft_config(lora, 32)
    assert (config.r, set(config.target_modules)) == (16, set(methods.TARGETS))


# --- Unsloth -------------------------------------------------------------------------------------


def test_unsloth_trains_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: object())
    taken = {method: engines.choose_engine("unsloth", method) for method in methods.DEFAULTS}
    assert [method for method, engine in taken.items() if engine == "unsloth"] == ["lora", "qlora", "dora"]
    assert engines.choose_engine("auto", "prefix") == "peft"


def test_peft_trains_the_rest_and_says_so(
    store: Store, options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: object())
    events: list[TrainEvent] = []
    wanted = by("ia3", options, name="no-unsloth", engine="unsloth", max_steps=1)
    assert read_card(train(store, wanted, events.append).path).engine == "peft"
    assert "Unsloth has no ia3; PEFT trains it." in [event.text for event in events]
