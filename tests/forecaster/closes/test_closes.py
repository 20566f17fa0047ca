"""Closes as plain text on a small GPT-2: trained, stopped, gone on with, forecast with, and scored."""

from __future__ import annotations

import json
import os
import shutil
import signal as signals
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from stockllm.cli.main import app
from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, TrainingStopped, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.closes import text as closes
from stockllm.forecaster.closes.evaluate import evaluate
from stockllm.forecaster.closes.text import answer, forecast, list_models, load, parse, question, signal
from stockllm.forecaster.closes.train import ClosesOptions, train
from stockllm.forecaster.training.progress import TrainEvent

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

UNTIL = date(2025, 5, 30)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 with byte-level tokens of one digit each, as any local model could be."""
    from stockllm.forecaster.models.engines import prepare_imports, quiet_imports

    prepare_imports()
    with quiet_imports():
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: n for n, letter in enumerate([*letters, "<|endoftext|>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=256, n_embd=64, n_layer=2, n_head=2,
        bos_token_id=256, eos_token_id=256, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fill_home: Callable[..., None]) -> Home:
    home = Home(tmp_path_factory.mktemp("closes") / "home")
    fill_home(home, days=150)
    return home


@pytest.fixture(scope="module")
def store(home: Home) -> Iterator[Store]:
    with Store.open(home) as opened:
        yield opened


@pytest.fixture(scope="module")
def options(gpt2: Path) -> dict[str, Any]:
    return {
        "codes": ("2330", "2317"), "model_name": str(gpt2), "until": UNTIL, "past": 4, "future": 3,
        "max_steps": 120, "learning_rate": 5e-3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(store: Store, options: dict[str, Any]) -> closes.ClosesCard:
    return train(store, ClosesOptions(name="whole", **options))


# --- text and rule -------------------------------------------------------------------------------


def test_the_text() -> None:
    assert question([100, 101.5, 99.95], 2) == (
        "Closing prices of the past 3 trading days: 100.0 101.5 99.95\nThe next 2 closing prices:"
    )
    assert answer([98.1, 1005]) == " 98.1 1005.0"


@pytest.mark.parametrize(
    ("text", "prices"),
    [
        (" 98.1 1005.0", [98.1, 1005.0]),
        ("98 99\nand more words", [98.0, 99.0]),
        ("98.1", None),
        ("98.1 rising", None),
        ("98.1 -3", None),
        ("98.1 0.0", None),
        ("1e3 5", None),
        ("", None),
    ],
)
def test_only_prices_are_an_answer(text: str, prices: list[float] | None) -> None:
    found = parse(text, 2)
    assert (None if found is None else found.tolist()) == prices


def test_the_signal() -> None:
    assert [signal(100, b) for b in (100.2, 99.8, 100, 100.09, 99.91)] == [
        "buy",
        "sell",
        "hold",
        "hold",
        "hold",
    ]


# --- training ------------------------------------------------------------------------------------


def test_every_weight_is_tuned_and_plain_transformers_loads_it(
    store: Store, trained: closes.ClosesCard, gpt2: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = closes.folder_of(store.home) / "whole"
    before = AutoModelForCausalLM.from_pretrained(gpt2).state_dict()
    after = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert before.keys() == after.keys()
    assert all((before[key] != after[key]).any() for key in before)
    assert trained.losses["last_loss"] < trained.losses["first_loss"] / 3
    assert (trained.past, trained.future, trained.steps, trained.simulated) == (4, 3, 120, True)
    assert date.fromisoformat(trained.data_end) <= UNTIL
    days = sum(day <= UNTIL for day in store.bars.traded())
    assert trained.windows == 2 * (days - 4 - 3 + 1)
    assert [card.name for card in list_models(store.home)] == ["whole"]
    assert [path.name for path in closes.folder_of(store.home).iterdir()] == ["whole"]


def test_stopped_and_gone_on_with_is_the_same_as_never_stopped(
    store: Store, options: dict[str, Any], trained: closes.ClosesCard
) -> None:
    from safetensors.numpy import load_file

    def interrupt(event: TrainEvent) -> None:
        if event.step == 50:
            os.kill(os.getpid(), signals.SIGTERM)

    wanted = ClosesOptions(name="parted", **options)
    with pytest.raises(TrainingStopped, match=r"after step 5[01] of 120 .* the same command goes on"):
        train(store, wanted, interrupt)
    assert [card.name for card in list_models(store.home)] == ["whole"]
    steps: list[int] = []
    train(store, wanted, lambda event: steps.append(event.step) if event.loss is not None else None)
    assert steps[0] in (51, 52)
    here = closes.folder_of(store.home)
    one, other = (load_file(here / name / "model.safetensors") for name in ("whole", "parted"))
    assert all((one[key] == other[key]).all() for key in one)
    shutil.rmtree(here / "parted")


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"name": "whole"}, UsageError, "a model of closes 'whole' already"),
        ({"codes": ("2454",)}, NotEnoughHistory, "No company has the 7 trading days"),
        ({"model_name": "ewma"}, UsageError, "ewma is no model to train on"),
        ({"past": 40, "future": 20}, ModelUnavailable, r"takes \d+ tokens and this model reads 256"),
        ({"max_steps": 0}, UsageError, "--max-steps is 0"),
        ({"learning_rate": 0.0}, UsageError, "--learning-rate is 0.0"),
        ({"name": "../x"}, UsageError, "cannot name a model"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    store: Store, options: dict[str, Any], trained: closes.ClosesCard,
    change: dict[str, Any], error: type[Exception], sentence: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=sentence):
        train(store, ClosesOptions(**{"name": "new", **options, **change}))
    assert [path.name for path in closes.folder_of(store.home).iterdir()] == ["whole"]


# --- forecasting ---------------------------------------------------------------------------------


def test_a_forecast(store: Store, trained: closes.ClosesCard) -> None:
    loaded = load(store.home, None)
    series = store.bars.series("2330")
    made = forecast(loaded, series, paths=8, seed=1)
    assert made.closes.shape == (3,)
    assert made.failures < 8
    assert made.a == pytest.approx(series.close[-4:].mean())
    assert made.b == pytest.approx(made.closes.mean())
    assert made.action == signal(made.a, made.b)
    again = forecast(loaded, series, paths=8, seed=1)
    assert (made.closes == again.closes).all()
    assert (made.closes != forecast(loaded, series, paths=8, seed=2).closes).any()
    # It has learned where prices lie.
    assert np.abs(np.log(made.closes / series.close[-1])).max() < 0.7


def test_answers_that_are_no_prices_are_counted(store: Store, gpt2: Path, trained: closes.ClosesCard) -> None:
    from transformers import AutoModelForCausalLM

    loaded = load(store.home, "whole")
    untrained = closes.ClosesModel(
        AutoModelForCausalLM.from_pretrained(gpt2).eval(), loaded.tokenizer, loaded.card
    )
    made = forecast(untrained, store.bars.series("2330"), paths=3, seed=1)
    assert (made.failures, made.paths) == (3, 3)
    with pytest.raises(ModelUnavailable, match="None of 3 answers for 2330 was a list of prices"):
        closes.check_answered(made)
    end = list(store.bars.traded())[-1]
    found = evaluate(untrained, store, ("2330",), date(2025, 6, 2), end, stride=9, paths=1, seed=1)
    assert found["whole"].windows == 0
    assert found["whole"].unanswered > 0


def test_errors_beside_the_last_price(store: Store, trained: closes.ClosesCard) -> None:
    loaded, days = load(store.home, "whole"), list(store.bars.traded())
    start = days[days.index(max(day for day in days if day <= UNTIL)) + 1]
    found = evaluate(loaded, store, ("2330", "2317"), start, days[-1], stride=7, paths=1, seed=1)
    mine, naive = found["whole"], found["last"]
    assert mine.windows + mine.unanswered == naive.windows + naive.unanswered > 4
    assert mine.rmse == pytest.approx(mine.mse**0.5)
    # The last price's errors, by hand, on the windows that were answered.
    errors, shares = [], []
    for code in ("2330", "2317"):
        series, own, came = store.bars.series(code), [], []
        evenings = [i for i in range(3, len(series) - 3) if series.dates[i + 1] >= start][::7]
        for i in evenings:
            if forecast(loaded, series[: i + 1], paths=1, seed=1).failures == 0:
                own.append(series.close[i] - series.close[i + 1 : i + 4])
                came.append(series.close[i + 1 : i + 4])
        errors += own
        shares.append(np.sqrt(np.mean(np.square(own))) / np.ptp(came))
    assert naive.mse == pytest.approx(np.mean(np.square(errors)))
    assert naive.nrmse == pytest.approx(np.mean(shares))
    assert naive.signals <= naive.windows
    read = date.fromisoformat(trained.data_end)
    with pytest.raises(UsageError, match=rf"whole was trained on days up to {read}"):
        evaluate(loaded, store, ("2330",), read, days[-1], stride=7, paths=1, seed=1)
    with pytest.raises(NotEnoughHistory, match="No company has 4 closes and 3 more"):
        evaluate(loaded, store, ("2330",), days[-2], days[-1], stride=7, paths=1, seed=1)


# --- the command ---------------------------------------------------------------------------------


def test_the_command(store: Store, trained: closes.ClosesCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_HOME", str(store.home.root))
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "en")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["closes", *arguments])

    made = run("forecast", "2330", "--paths", "8", "--json")
    assert made.exit_code == 0, made.output
    (document,) = json.loads(made.stdout)
    assert (document["code"], document["model"], len(document["closes"])) == ("2330", "whole", 3)
    assert document["simulated"] is True
    table = run("forecast", "2330", "--paths", "8")
    assert table.stdout.startswith("SIMULATED")
    assert "A is the mean of the last 4 closes" in table.stdout
    scored = run("evaluate", "2330", "--start", "2025-06-05", "--end", "2025-07-31", "--json")
    assert scored.exit_code == 0, scored.output
    assert set(json.loads(scored.stdout)["models"]) == {"whole", "last"}

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("a period is refused before the model is loaded")

    for arguments, sentence in (
        (("forecast", "2330", "--model", "none"), "no model of closes 'none' (there: whole)"),
        (("forecast", "2330", "--paths", "0"), "The number of paths is 1 to 1,000"),
        (("evaluate", "--start", "2025-01-02", "--end", "2025-07-31"), "was trained on days up to"),
        (("evaluate", "--start", "2025-07-30", "--end", "2025-07-31"), "No company has 4 closes and 3 more"),
        (("train", "--model-dir", "/nowhere"), "'/nowhere'"),
    ):
        with monkeypatch.context() as patch:
            if arguments[0] == "evaluate":
                patch.setattr(closes, "load", loads)
            result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) <= 2
        assert "Traceback" not in result.stderr


def test_what_the_base_has_read_counts_as_read(tmp_path: Path) -> None:
    from stockllm.forecaster.closes.train import _read_to
    from stockllm.forecaster.models.registry import ModelRef

    base = ModelRef("base", tmp_path)
    assert _read_to(base, "2025-05-30", simulated=False) == "2025-05-30"
    (tmp_path / "training.json").write_text('{"data_end": "2026-03-31", "simulated": false}')
    assert _read_to(base, "2025-05-30", simulated=False) == "2026-03-31"
    assert _read_to(base, "2025-05-30", simulated=True) == "2025-05-30"
