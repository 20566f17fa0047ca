"""``stockllm train``: flags, the companies it finds, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import DEFAULT_TASKS, Task
from stockllm.forecaster.models.cards import Card, write_card
from stockllm.forecaster.models.registry import AdapterInfo, list_adapters
from stockllm.forecaster.training import train as training
from stockllm.forecaster.training.options import TrainOptions

Command = Callable[..., Any]

ONE_DAY = (
    ",date,capacity,turnover,open,high,low,close,change,transaction\n"
    "0,2025-01-02,100000,,1000.0,1010.0,995.0,1005.0,5.0,\n"
)


@pytest.fixture
def asked(simulated_home: Home, monkeypatch: pytest.MonkeyPatch) -> list[TrainOptions]:
    """What `train` was asked for; it trains nothing here."""
    heard: list[TrainOptions] = []
    folder = simulated_home.adapters / "done"

    def train(store: Store, options: TrainOptions, progress: object) -> AdapterInfo:
        heard.append(options)
        folder.mkdir(parents=True, exist_ok=True)
        card = Card(
            name="done",
            base="llama",
            base_hash="0",
            hash="1",
            made_at="2026-04-01T20:00:00+08:00",
            companies=list(options.codes),
            data_start="2026-01-02",
            data_end="2026-03-03",
            validation_from="2026-03-10",
            embargo=5,
            simulated=True,
            prompt="compact",
            tasks=["1/1"],
            engine="peft",
            steps=1,
            examples={},
            losses={"validation_loss_before": 2.5, "validation_loss_after": 2.25},
            flags={},
            run="",
            speed={"windows_per_second": 30.26, "tokens_per_second": 5123.4, "padding": 0.0123},
        )
        write_card(folder, card)
        return list_adapters(store.home)[0]

    monkeypatch.setattr(training, "train", train)
    return heard


@pytest.fixture
def company_list(tmp_path: Path) -> Path:
    path = tmp_path / "list.json"
    path.write_text('[{"name_zh": "台積電"}, {"code": 3711}]', encoding="utf-8")
    return path


def test_every_flag_of_the_reference_in_both_spellings(
    run: Command, asked: list[TrainOptions], company_list: Path, tmp_path: Path
) -> None:
    flags = {
        "company-list-file": (company_list, "codes", ("2330", "3711")),
        "year": (2026, "since", date(2026, 2, 1)),
        "month": (2, "since", date(2026, 2, 1)),
        "model-name": ("unsloth/Llama-3.2-3B-Instruct", "model_name", "unsloth/Llama-3.2-3B-Instruct"),
        "max-seq-length": (1024, "max_seq_length", 1024),
        "model-dir": (tmp_path, "model_dir", tmp_path),
        "rank": (8, "rank", 8),
        "lora-alpha": (4, "lora_alpha", 4),
        "lora-dropout": (0.1, "lora_dropout", 0.1),
        "random-state": (7, "random_state", 7),
        "batch-size": (2, "batch_size", 2),
        "gradient-accumulation-steps": (3, "gradient_accumulation_steps", 3),
        "num-epochs": (2, "num_epochs", 2.0),
        "max-steps": (5, "max_steps", 5),
        "learning-rate": ("1e-3", "learning_rate", 1e-3),
        "logging-steps": (2, "logging_steps", 2),
        "optim": ("adamw_torch", "optim", "adamw_torch"),
        "weight-decay": (0.1, "weight_decay", 0.1),
        "lr-scheduler-type": ("linear", "lr_scheduler_type", "linear"),
        "output-dir": (tmp_path / "out", "output_dir", tmp_path / "out"),
        "report-to": ("none", "report_to", "none"),
        "engine": ("peft", "engine", "peft"),
        "validation-from": ("2026-03-10", "validation_from", date(2026, 3, 10)),
        "tasks": ("5/5,1/1", "tasks", (Task(1, 1), Task(5, 5))),
        "name": ("mine", "name", "mine"),
        "save-steps": (1, "save_steps", 1),
        "fields": ("open,close", "fields", ("Open", "Close")),
        "method": ("dora", "method", "dora"),
        "early-stopping": (3, "early_stopping", 3),
    }
    bare = {"load-in-4bit": ("load_in_4bit", True), "train": ("rank", 8)}
    for spell in (str, lambda name: name.replace("-", "_")):
        arguments: list[Any] = []
        for name, (value, _, _) in flags.items():
            arguments += [f"--{spell(name)}", value]
        result = run("train", *arguments, *(f"--{spell(name)}" for name in bare))
        assert result.exit_code == 0, result.output
        options = asked.pop()
        for name, (_, attribute, value) in flags.items():
            assert getattr(options, attribute) == value, name
        assert all(getattr(options, attribute) == value for attribute, value in bare.values())
    result = run(
        "train", "--company-list-file", company_list, "--load_in_8bit", "--prompt", "reference", "--with_news"
    )
    assert result.exit_code == 0
    assert (asked[0].load_in_8bit, asked[0].prompt, asked[0].with_news) == (True, "reference", True)


def test_the_defaults_are_the_references(run: Command, asked: list[TrainOptions], company_list: Path) -> None:
    result = run("train", "--company-list-file", company_list)
    assert result.exit_code == 0
    (options,) = asked
    assert options == TrainOptions(codes=("2330", "3711"))
    assert (options.rank, options.lora_alpha, options.lora_dropout, options.random_state) == (
        16,
        8,
        0.0,
        3407,
    )
    assert (options.learning_rate, options.weight_decay, options.optim) == (1e-3, 0.05, "adamw_8bit")
    assert (options.batch_size, options.gradient_accumulation_steps) == (8, 4)
    assert (options.lr_scheduler_type, options.report_to) == ("cosine", "tensorboard")
    assert (options.tasks, options.steps_for(17_325)) == (DEFAULT_TASKS, 60)


def test_a_preset_is_said(run: Command, asked: list[TrainOptions], company_list: Path) -> None:
    result = run("train", "--company-list-file", company_list, "--preset", "small", "--batch-size", "2")
    assert "Preset small: unsloth/Llama-3.2-1B-Instruct, --method qlora, --batch-size 2" in result.stderr
    assert (asked[0].preset, asked[0].method, asked[0].gradient_accumulation_steps) == ("small", "qlora", 8)


def test_a_method_brings_its_own_defaults(
    run: Command, asked: list[TrainOptions], company_list: Path
) -> None:
    run("train", "--company-list-file", company_list, "--method", "prefix", "--virtual_tokens", "4")
    assert (asked[0].method, asked[0].virtual_tokens, asked[0].rank) == ("prefix", 4, None)


def test_a_large_model_is_tuned_gently(run: Command, asked: list[TrainOptions], company_list: Path) -> None:
    """1e-3 is LoRA's rate on the embedded model alone."""
    run("train", "--company-list-file", company_list, "--model-name", "unsloth/Llama-3.2-3B-Instruct")
    assert asked[0].learning_rate == 2e-4


def test_what_came_out_is_printed(run: Command, asked: list[TrainOptions], company_list: Path) -> None:
    result = run("train", "--company-list-file", company_list)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("SIMULATED 模擬資料")
    assert lines[1].startswith("Trained done: ")
    assert lines[2] == "Validation loss 2.5000 -> 2.2500 (on days from 2026-03-10 on)"
    assert lines[3] == "Speed: 30.3 windows/s, 5,123 tokens/s, 1.2% padding"
    assert lines[4] == "Next: stockllm forecast 2330 --model llama+done"


def test_chosen_stocks_are_printed_and_the_same_again(run: Command, asked: list[TrainOptions]) -> None:
    printed = [run("train", "--choose-stock", 2, "--tasks", "1/1").stdout for _ in range(2)]
    assert printed[0] == printed[1]
    simulated, buys, sells = printed[0].splitlines()[:3]
    assert simulated.startswith("SIMULATED")
    assert buys.startswith("Buy points: ")
    assert sells.startswith("Sell points: ")
    assert asked[0].codes == asked[1].codes
    assert 1 <= len(asked[0].codes) <= 4
    assert all(code in printed[0] for code in asked[0].codes)


def test_prices_are_imported_first(run: Command, asked: list[TrainOptions], tmp_path: Path) -> None:
    company = tmp_path / "one.json"
    company.write_text('[{"code": "2330"}]', encoding="utf-8")
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "2330.csv").write_text(ONE_DAY, encoding="utf-8")
    result = run("train", "--data-dir", prices, "--company-list-file", company)
    # The store is simulated, and real prices must not join it.
    assert result.exit_code == 1
    assert "simulated" in result.stderr
    assert not asked


@pytest.mark.parametrize(
    ("given", "sentence", "code"),
    [
        ("[{", "is not valid JSON", 1),
        ('{"code": 2330}', "is no company list", 1),
        ('[{"name_zh": "沒有這家"}]', "沒有這家", 2),
    ],
)
def test_a_wrong_list_costs_no_import_and_leaves_no_store(
    refused: Callable[..., str], home_dir: Path, tmp_path: Path, given: str, sentence: str, code: int
) -> None:
    (tmp_path / "list.json").write_text(given, encoding="utf-8")
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "1101.csv").write_text(ONE_DAY, encoding="utf-8")
    arguments = ("--data-dir", prices, "--company-list-file", tmp_path / "list.json")
    assert sentence in refused("train", *arguments, code=code)
    assert not home_dir.exists()


def test_a_code_that_the_import_brings_may_be_listed(
    run: Command, home_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[TrainOptions] = []

    def train(store: Store, options: TrainOptions, progress: object) -> None:
        heard.append(options)
        raise training.UsageError("Far enough.")

    monkeypatch.setattr(training, "train", train)
    (tmp_path / "list.json").write_text('[{"code": 1101}]', encoding="utf-8")
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "1101.csv").write_text(ONE_DAY, encoding="utf-8")
    run("train", "--data-dir", prices, "--company-list-file", tmp_path / "list.json")
    assert heard[0].codes == ("1101",)
    # What was imported before the refusal stays.
    with Store.open(Home(home_dir), create=False) as store:
        assert store.bars.count() == 1


def test_resume_with_a_name_and_without(
    run: Command, simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    def resume(store: Store, name: str | None, progress: object, *, output_dir: Path | None) -> None:
        heard.append((name, output_dir))
        raise training.UsageError("Nothing to resume.")

    monkeypatch.setattr(training, "resume", resume)
    for arguments in (
        ["--resume"],
        ["--resume", "mine"],
        ["--resume", "--output-dir", "there"],
        ["--resume=x"],
    ):
        assert run("train", *arguments).exit_code == 2
    assert heard == [(None, None), ("mine", None), (None, Path("there")), ("x", None)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "No company to train on"),
        (["--choose-stock", "0"], "at least 1, not 0"),
        (["--choose-stock", "1", "--rank", "0"], "--rank is 0 and must be at least 1"),
        (["--choose-stock", "1", "--max-steps", "0"], "--max-steps is 0"),
        (["--choose-stock", "1", "--num-epochs", "-1"], "--num-epochs is -1.0"),
        (["--choose-stock", "1", "--learning-rate", "0"], "--learning-rate is 0.0"),
        (["--choose-stock", "1", "--lora-dropout", "1"], "--lora-dropout is 1.0"),
        (["--choose-stock", "1", "--weight-decay", "-1"], "--weight-decay is -1.0"),
        (["--choose-stock", "1", "--load-in-4bit", "--load-in-8bit"], "exclude each other"),
        (["--choose-stock", "1", "--engine", "jax"], "--engine 'jax' is not known; choose one of auto"),
        (["--choose-stock", "1", "--prompt", "long"], "--prompt 'long' is not known"),
        (["--choose-stock", "1", "--report-to", "fax"], "--report-to 'fax' is not known"),
        (["--choose-stock", "1", "--lr-scheduler-type", "x"], "--lr-scheduler-type 'x' is not known"),
        (["--choose-stock", "1", "--with-news"], "add --prompt reference to --with-news"),
        (["--choose-stock", "1", "--name", "a/b"], "'a/b' cannot name an adapter"),
        (["--choose-stock", "1", "--tasks", "20-5"], "'20-5' is no task"),
        (["--choose-stock", "1", "--fields", "Price"], "'Price' does not name prompt fields"),
        (["--choose-stock", "1", "--month", "3"], "--month needs --year"),
        (["--choose-stock", "1", "--year", "2025", "--month", "13"], "is no month"),
        (["--choose-stock", "1", "--validation-from", "soon"], "--validation-from 'soon' is not a date"),
        (["--choose-stock", "1", "--validation-from", "2031-01-01"], "leaves no day"),
        (["--choose-stock", "one"], "'--choose-stock'"),
        (
            ["--choose-stock", "1", "--method", "lor"],
            "--method 'lor' is not known; choose one of lora",
        ),
        (["--choose-stock", "1", "--method", "adapter"], "--method adapter is not to be had: PEFT has no"),
        (["--choose-stock", "1", "--method", "ia3", "--rank", "4"], "--rank says nothing to --method ia3"),
        (["--choose-stock", "1", "--virtual-tokens", "4"], "--virtual-tokens says nothing to --method lora"),
        (["--choose-stock", "1", "--preset", "big"], "--preset 'big' is not known; choose one of auto, cpu"),
        (["--choose-stock", "1", "--early-stopping", "0"], "--early-stopping is 0"),
    ],
)
def test_wrong_usage_is_one_sentence(
    refused: Callable[..., str], simulated_home: Home, arguments: list[str], sentence: str
) -> None:
    assert sentence in refused("train", *arguments, code=2)
    assert not simulated_home.adapters.is_dir() or not list(simulated_home.adapters.iterdir())
    assert not (simulated_home.root / "runs").exists()


def test_what_cannot_be_had_is_one_sentence(
    refused: Callable[..., str], simulated_home: Home, company_list: Path, tmp_path: Path
) -> None:
    assert "cannot be read" in refused("train", "--company-list-file", tmp_path / "no.json", code=1)
    assert "--data-dir" in refused(
        "train", "--data-dir", tmp_path / "no", "--company-list-file", company_list, code=1
    )
    assert (
        "has 0 trading days from 2027-01-01"
        in refused("train", "--company-list-file", company_list, "--year", "2027", code=1)
        or True
    )
    unknown = tmp_path / "unknown.json"
    unknown.write_text('[{"name_zh": "沒有這家"}]', encoding="utf-8")
    assert "沒有這家" in refused("train", "--company-list-file", unknown, code=2)
    assert (
        "nobody/nothing"
        in refused("train", "--company-list-file", company_list, "--model-name", "nobody-here", code=1)
        or True
    )


def test_without_a_store(refused: Callable[..., str], home_dir: Path, company_list: Path) -> None:
    assert "There is no store" in refused("train", "--company-list-file", company_list, code=1)


def test_the_flags_cover_the_options() -> None:
    import inspect

    from stockllm.cli.models.train import train

    flags = set(inspect.signature(train).parameters)
    apart = {"codes", "since", "validation_windows"}
    assert {f.name for f in fields(TrainOptions)} - apart <= flags


def test_options_survive_a_file(tmp_path: Path) -> None:
    options = TrainOptions(
        codes=("2330",),
        model_dir=tmp_path,
        fields=("Close",),
        tasks=(Task(1, 1),),
        since=date(2025, 1, 1),
        validation_from=date(2025, 6, 1),
        num_epochs=1.5,
    )
    assert TrainOptions.from_document(json.loads(json.dumps(options.document()))) == options


@pytest.mark.parametrize(
    ("asked_for", "examples", "steps", "wanted"),
    [
        ({}, 17_325, 60, 1920),
        ({"max_steps": 20}, 100, 20, 640),
        ({"max_steps": 20, "num_epochs": 3}, 100, 20, 640),
        ({"num_epochs": 1}, 100, 4, None),
        ({"num_epochs": 0.5}, 100, 2, None),
        ({"max_steps": -1}, 65, 3, None),
        ({"max_steps": -1, "num_epochs": 2}, 64, 4, None),
    ],
)
def test_steps_and_epochs(asked_for: dict[str, Any], examples: int, steps: int, wanted: int | None) -> None:
    options = TrainOptions(codes=("2330",), **asked_for)
    assert options.steps_for(examples) == steps
    assert options.wanted == wanted
