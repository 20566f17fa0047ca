"""The recipe of the base model, on a model so small that a second of it is enough."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import Market, make_market, make_network

from stockllm.data.errors import NotEnoughHistory, TrainingStopped, UsageError
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.prompts import COMPACT_SYSTEM_2, REFERENCE_SYSTEM, training_messages
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.encoding.words import Words
from stockllm.forecaster.models.registry import weights_hash
from stockllm.forecaster.outlook.network import BOTH, EVENING, Network
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.pretraining.batches import SHORTEST, Batches, Reading
from stockllm.forecaster.pretraining.pretrain import (
    Trunk,
    drop_residuals,
    new_model,
    pretrain,
    split_companies,
)
from stockllm.forecaster.pretraining.recipe import Recipe
from stockllm.forecaster.pretraining.teachers import BLOCKS, Teacher, Teachers, teach

DAYS, STOCKS = 130, 4
CODES = [str(3000 + n) for n in range(STOCKS)]
TINY = Recipe(
    hidden=16,
    layers=1,
    heads=2,
    feed_forward=24,
    steps=3,
    batch_tokens=900,
    longest_past=20,
    hold_out=1,
    networks=1,
)


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(days=DAYS, stocks=STOCKS)


@pytest.fixture(scope="module")
def outlook(market: Market) -> Outlook:
    return Outlook.of(market.panel(), market.world)


@pytest.fixture(scope="module")
def until(market: Market) -> date:
    return market.series[0].dates[-1]


def run(outlook: Outlook, target: Path, recipe: Recipe, until: date, **options: Any) -> Path:
    return pretrain(outlook, target, recipe, **{"codes": CODES, "until": until, **options})


@pytest.fixture(scope="module")
def made(outlook: Outlook, market: Market, until: date, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of three steps, with its trunk beside it; 3003 was held out."""
    target = tmp_path_factory.mktemp("made") / "new" / "base"
    return run(outlook, target, TINY, until, codes=CODES[:3], held_out=CODES[3:], series=market.series[:3])


def test_plain_transformers_loads_what_comes_out(made: Path, until: date) -> None:
    facts = json.loads((made / "training.json").read_text("utf-8"))
    assert facts["data_end"] == until.isoformat()
    assert (facts["companies"], facts["held_out"], facts["compact"]) == (3, ["3003"], 2)
    assert facts["days"] == 3 * (DAYS - WARM_UP)
    assert facts["steps"] == 3
    assert facts["recipe"]["hidden"] == 16
    card = (made / "README.md").read_text("utf-8")
    assert until.isoformat() in card
    assert not list(made.parent.glob("*.checkpoint*"))
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "chat = tokenizer.apply_chat_template([{'role': 'user', 'content': 'volatility 1.85%'}],\n"
        "    add_generation_prompt=True, return_tensors='pt', return_dict=True)\n"
        "out = model.generate(**chat, max_new_tokens=3, do_sample=False)\n"
        "assert out.shape[1] > chat['input_ids'].shape[1]\n"
        "assert not [name for name in sys.modules if name.startswith('stockllm')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_model_that_comes_out_forecasts_with_its_network(made: Path) -> None:
    from stockllm.forecaster.models.registry import ModelRef, load_model

    loaded = load_model(ModelRef(str(made), made))
    assert loaded.compact == 2
    assert loaded.network is not None
    assert loaded.network.digest == Network.load(made).digest


def test_a_stopped_training_goes_on_as_if_it_never_had(
    outlook: Outlook, market: Market, until: date, tmp_path: Path
) -> None:
    target = tmp_path / "base"
    recipe = replace(TINY, steps=45)
    options: dict[str, Any] = {"series": market.series}

    def interrupt(facts: dict[str, Any]) -> None:
        if "step" in facts:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingStopped, match=r"20 of 45 steps: run .* again .*base\.checkpoint"):
        run(outlook, target, recipe, until, report=interrupt, **options)
    checkpoint = tmp_path / "base.checkpoint"
    assert checkpoint.is_file()
    assert not (target / "model.safetensors").exists()
    for other in (replace(recipe, seed=1), replace(recipe, hidden=32)):
        with pytest.raises(UsageError, match="another recipe or other data"):
            run(outlook, target, other, until, **options)
    for changed in ({"codes": CODES[:3]}, {"held_out": ["1101"]}):
        with pytest.raises(UsageError, match="another recipe or other data"):
            run(outlook, target, recipe, until, **options, **changed)
    told: list[dict[str, Any]] = []
    run(outlook, target, recipe, until, report=told.append, **options)
    facts = json.loads((target / "training.json").read_text("utf-8"))
    assert facts["steps"] == 45
    assert [report["step"] for report in told if "step" in report] == [40]
    whole = run(outlook, tmp_path / "whole", recipe, until, **options)
    assert weights_hash(target) == weights_hash(whole)
    for one, other in zip(
        sorted((tmp_path / "base.trunk").rglob("*.safetensors")),
        sorted((tmp_path / "whole.trunk").rglob("*.safetensors")),
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes()
    assert not checkpoint.exists()


def test_a_checkpoint_is_data_and_nothing_else(outlook: Outlook, until: date, tmp_path: Path) -> None:
    """A file that would run code when it is unpickled is refused, and does not run."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    checkpoint = tmp_path / "base.checkpoint"
    for content in (pickle.dumps(Evil()), b"", b"PK\x03\x04 torn"):
        checkpoint.write_bytes(content)
        with pytest.raises(UsageError, match=r"cannot be read as a checkpoint: remove it"):
            run(outlook, tmp_path / "base", TINY, until)
    assert not (tmp_path / "ran").exists()


def test_it_learns(outlook: Outlook, until: date, tmp_path: Path) -> None:
    """Within 2,000 steps, and mostly within a hundred, the loss has fallen by a tenth."""
    told: list[float] = []

    def watch(facts: dict[str, Any]) -> None:
        if "loss" in facts:
            told.append(facts["loss"])
            if told[-1] < told[0] * 0.9:
                signal.raise_signal(signal.SIGINT)

    eager = replace(TINY, steps=2000, learning_rate=0.02)
    with pytest.raises(TrainingStopped):
        run(outlook, tmp_path / "base", eager, until, report=watch)


def test_no_held_out_company_is_read(outlook: Outlook, until: date, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a held-out company"):
        run(outlook, tmp_path / "base", TINY, until, held_out=["3001"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(outlook: Outlook, until: date, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        run(outlook, tmp_path / "file" / "base", TINY, until)


def test_too_few_days(market: Market, tmp_path: Path) -> None:
    short = SHORTEST - 1
    outlook = Outlook.of(market.panel(short), market.known(short))
    with pytest.raises(NotEnoughHistory, match="the 80 days that pretraining needs"):
        run(outlook, tmp_path / "base", TINY, market.series[0].dates[short - 1])
    outlook = Outlook.of(market.panel(15), market.known(15))
    with pytest.raises(NotEnoughHistory, match="traded long enough to learn"):
        run(outlook, tmp_path / "other", TINY, market.series[0].dates[14])


# --- a trunk -------------------------------------------------------------------------------------


def test_a_later_training_starts_from_a_trunk(
    made: Path, outlook: Outlook, market: Market, until: date, tmp_path: Path
) -> None:
    trunk = made.with_name("base.trunk")
    options: dict[str, Any] = {"codes": CODES[:3], "held_out": CODES[3:], "start_from": trunk}
    later = run(outlook, tmp_path / "later", TINY, until, **options)
    assert weights_hash(later) != weights_hash(made)
    refused = "has read days up to .* or held other companies out"
    with pytest.raises(UsageError, match=refused):
        run(outlook, tmp_path / "a", TINY, until - timedelta(days=1), **options)
    with pytest.raises(UsageError, match=refused):
        run(outlook, tmp_path / "b", TINY, until, **(options | {"held_out": []}))
    with pytest.raises(UsageError, match="is no trunk of a training"):
        run(outlook, tmp_path / "c", TINY, until, **(options | {"start_from": tmp_path}))


def test_what_reads_on_keeps_its_teachers(outlook: Outlook, market: Market, tmp_path: Path) -> None:
    """Days before keep the networks that never learnt them; the days since get the one shipped then."""
    first, last = int(outlook.panel.days[99]), int(outlook.panel.days[-1])
    before = teach(outlook, range(STOCKS), first, networks=1)
    after = teach(outlook, range(STOCKS), last, networks=1, before=before)
    assert after.block[:-1] == before.block
    assert (after.block[-1].first, after.block[-1].last) == (first + 1, last)
    assert after.block[-1].network.digest == before.final.digest
    assert len(before.block) == BLOCKS
    after.save(tmp_path / "kept")
    found = Teachers.load(tmp_path / "kept")
    assert found.until == last
    assert [(t.first, t.last, t.network.digest) for t in found.block] == [
        (t.first, t.last, t.network.digest) for t in after.block
    ]
    assert found.final.digest == after.final.digest
    assert Trunk(tmp_path / "none").teachers(date.fromordinal(last)) is None


def test_every_day_has_one_teacher_that_has_not_learnt_it(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stockllm.forecaster.pretraining import teachers as teaching

    learnt: list[Any] = []

    def watch(examples: Any, **_: Any) -> Network:
        learnt.append(examples)
        return make_network(len(learnt))

    monkeypatch.setattr(teaching, "fit", watch)
    last = int(outlook.panel.days[-1])
    found = teach(outlook, [0, 1], last, networks=1)
    days = outlook.panel.days
    for day in days.tolist():
        assert sum(t.first <= day <= t.last for t in found.block) == 1
    rows, columns = outlook.learnable(0, len(days), [0, 1])
    whole = outlook.examples(rows, columns, targets=True)
    assert len(learnt) == BLOCKS + 1
    assert len(learnt[-1]) == len(whole)
    for teacher, examples in zip(found.block, learnt[:-1], strict=True):
        mine = (days[rows] >= teacher.first) & (days[rows] <= teacher.last)
        seen = {row.tobytes() for row in examples.table}
        assert not seen & {row.tobytes() for row in whole.table[mine]}
        # Nor does a target reach into its days: twenty sessions before them are left out.
        first = int(np.searchsorted(days, teacher.first))
        near = (rows >= first - 20) & (rows < first)
        assert not seen & {row.tobytes() for row in whole.table[near]}


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


@pytest.fixture(scope="module")
def reading(outlook: Outlook) -> Reading:
    last = int(outlook.panel.days[-1])
    network = make_network()
    return Reading.of(outlook, range(STOCKS), last, Teachers(last, (Teacher(0, last, network),), network))


def plainly(reading: Reading, market: Market, tokenizer: Any, **options: Any) -> Batches:
    """Batches that neither mirror nor hide anything, but for ``options``."""
    calm: dict[str, Any] = {
        "mirror_share": 0.0, "market_hidden": 0.0, "network_hidden": 0.0, "evening_share": 0.0,
        "reference_share": 0.0, "shown": (0.0, 0.0, 1.0, 0.0),
    }  # fmt: skip
    recipe = replace(TINY, **(calm | options))
    return Batches(reading, market.series, tokenizer, recipe)


def window_at(market: Market, reading: Reading, first: int, past: int, future: int) -> Window:
    """The window whose first day ahead is row ``first`` of the reading, as it is cut anywhere else."""
    stock = int(np.searchsorted(reading.starts, first, side="right")) - 1
    series = market.series[stock]
    day = first - int(reading.starts[stock]) + WARM_UP
    assert series.dates[day].toordinal() == reading.days[first]
    ahead = series[day : day + future]
    return Window(series.code, series.code, "TWSE", series[:day], past, ahead, ahead.dates)


@pytest.mark.parametrize(("past", "future"), [(5, 1), (20, 5), (20, 20)])
@pytest.mark.parametrize("ahead", [BOTH, EVENING])
def test_the_tokens_are_those_of_the_chat_template(
    embedded_tokenizer: Any,
    outlook: Outlook,
    market: Market,
    reading: Reading,
    past: int,
    future: int,
    ahead: int,
) -> None:
    supply = plainly(reading, market, embedded_tokenizer, evening_share=float(ahead == EVENING))
    firsts = supply.rows[:: len(supply.rows) // 7]
    ids, weights = supply.windows(firsts, past, future)
    assert ids.shape == weights.shape
    for first, row, weigh in zip(firsts.tolist(), ids.tolist(), weights, strict=True):
        window = window_at(market, reading, first, past, future)
        (words,) = outlook.words(make_network(), [window], shown=ahead)
        assert isinstance(words, Words)
        example = training_messages(replace(window, words=words), "compact")
        chat = [*example.prompt, *example.completion]
        assert row == embedded_tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
        # The first thing that weighs anything is the open of the first day in the prompt.
        text = embedded_tokenizer.decode(row[: int(np.flatnonzero(weigh)[0])])
        assert text.split("\n")[-1].count(" ") == 3
        assert (weigh >= 0).all()


def test_words_are_hidden_and_days_mirrored_as_the_recipe_says(
    embedded_tokenizer: Any, market: Market, reading: Reading
) -> None:
    def lines(**options: Any) -> list[list[str]]:
        supply = plainly(reading, market, embedded_tokenizer, **options)
        (row,) = supply.windows(supply.rows[40:41], 5, 5)[0].tolist()
        text = embedded_tokenizer.decode(row)
        _, _, user, answer = text.split("<|start_header_id|>")
        past = user.removesuffix("<|eot_id|>").split("\n")[4:-1]
        future = answer.removesuffix("<|eot_id|>").split("\n")[2:]
        return [line.split() for line in past + future]

    plain = lines()
    assert len(plain) == 10
    for options, column in (({"market_hidden": 1.0}, 0), ({"network_hidden": 1.0}, 2)):
        hidden = lines(**options)
        assert {line[column] for line in hidden[:6]} == {"?"}
        assert [line[-5:] for line in hidden] == [line[-5:] for line in plain]
    dark = lines(shown=(1.0, 0.0, 0.0, 0.0))
    assert {line[1] for line in dark[:6]} == {"?"}
    assert dark[5][0] == plain[5][0]
    turned = lines(mirror_share=1.0)
    for one, other in zip(plain, turned, strict=True):
        opened, close, upper, lower, volume = one[-5:]
        assert other[-5:-3] == [f"{-int(opened):+d}", f"{-int(close):+d}"]
        assert other[-3:] == [lower, upper, volume]
        for column in range(3 if len(one) == 9 else 0):
            assert ord(one[column]) + ord(other[column]) == 2 * ord("m") or one[column] == "?"


def test_batches_are_of_the_data_and_of_the_seed(
    embedded_tokenizer: Any, market: Market, reading: Reading
) -> None:
    one, other = (Batches(reading, market.series, embedded_tokenizer, TINY) for _ in range(2))
    styles = set()
    for _ in range(40):
        ids, weights = one.batch()
        again, same = other.batch()
        assert (ids == again).all()
        assert (weights == same).all()
        assert ids.shape == weights.shape
        text = embedded_tokenizer.decode(ids[0].tolist())
        styles.add(COMPACT_SYSTEM_2 in text)
        assert (COMPACT_SYSTEM_2 in text) != (REFERENCE_SYSTEM in text)
    assert True in styles


def test_reference_batches(embedded_tokenizer: Any, market: Market, reading: Reading) -> None:
    supply = Batches(reading, market.series, embedded_tokenizer, replace(TINY, reference_share=1.0))
    ids, weights = supply.batch()
    text = embedded_tokenizer.decode(ids[0].tolist())
    assert REFERENCE_SYSTEM in text
    assert "price is: Date:\n 2024-" in text
    assert ((ids == embedded_tokenizer.pad_token_id) == (weights == 0)).all()


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
