"""Forecasters of the field: named, loaded from a folder, sampled through the one interface."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.models.registry import ModelRef, load_model, resolve_model, weights_hash
from stockllm.forecaster.sampling import peers
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.peers import CONTEXT, Chronos, PeerSampler, TimesFM, log_closes
from stockllm.forecaster.sampling.samplers import Sampler, sampler_for
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve

Walk = Callable[..., BarSeries]
DECILES = [tenth / 10 for tenth in range(1, 10)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


def window(series: BarSeries, horizon: int = 5) -> Window:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, resolve("2330"), 20, dates)


def sampler(name: str, home: Home) -> Sampler:
    return sampler_for(resolve_model(name, home), until=date(2025, 1, 1), market=lambda _day: [])


class Normal:
    """Stands in for a pipeline of chronos: deciles of a normal walk with drift, two of them crossed."""

    quantiles = DECILES

    def __init__(self, sigma: float = 0.01, drift: float = 0.0, shape: str = "chronos2") -> None:
        self.sigma, self.drift, self.shape = sigma, drift, shape
        self.asked: list[NDArray[np.float64]] = []

    def predict_quantiles(
        self, inputs: Sequence[Any], prediction_length: int, quantile_levels: list[float]
    ) -> tuple[Any, None]:
        import torch

        self.asked += [np.asarray(each, dtype=np.float64) for each in inputs]
        ranks = np.array([NormalDist().inv_cdf(level) for level in quantile_levels])
        days = np.arange(1, prediction_length + 1)[:, None]
        lines = self.drift * days + self.sigma * np.sqrt(days) * ranks
        lines[:, [3, 4]] = lines[:, [4, 3]]
        answer = torch.tensor(lines, dtype=torch.float32)
        if self.shape == "bolt":
            return torch.stack([answer] * len(inputs)), None
        return [answer[None]] * len(inputs), None


def of(pipeline: Any) -> PeerSampler:
    return PeerSampler("chronos:fake", "0" * 64, Chronos(pipeline))


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chronos", "timesfm"])
def test_a_folder_and_a_hub_id_name_a_peer(home: Home, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "a+b"
    folder.mkdir()
    assert resolve_model(f"{kind}:{folder}", home) == ModelRef(f"{kind}:{folder}", folder, peer=kind)
    assert resolve_model(f" {kind}:owner/model ", home) == ModelRef(
        f"{kind}:owner/model", "owner/model", peer=kind
    )


@pytest.mark.parametrize("place", ["", "nothing", "/no/such", "./no", "a/b/c", "owner/"])
def test_what_names_no_peer_is_one_sentence(home: Home, place: str) -> None:
    with pytest.raises(ModelUnavailable, match="write chronos:FOLDER or chronos:OWNER/MODEL") as caught:
        resolve_model(f"chronos:{place}", home)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["chronos", "timesfm"])
def test_a_missing_package_is_one_sentence_with_the_command(
    home: Home, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    with pytest.raises(ModelUnavailable, match=r"pip install 'stockllm\[peers\]'"):
        sampler(f"{kind}:{tmp_path}", home)


def test_a_peer_is_no_llama(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can only forecast"):
        load_model(resolve_model(f"chronos:{tmp_path}", home))


def test_nobody_knows_until_when_a_peer_was_trained(home: Home, tmp_path: Path) -> None:
    found = cutoff(resolve_model(f"chronos:{tmp_path}", home), simulated=False)
    assert found.seen(date(2026, 1, 5)) is None


# --- what it reads and what becomes of its answer ------------------------------------------------


def test_an_ex_date_is_no_move_to_a_peer(walk: Walk) -> None:
    series = walk(5, days=80, wild=False)
    # Half the price from day 40 on, and the reference of that day halved too.
    cut = np.where(np.arange(80) < 40, 1.0, 0.5)
    halved = replace(series, close=series.close * cut, reference=series.reference * cut)
    np.testing.assert_allclose(log_closes(halved), log_closes(series), atol=1e-12)
    assert log_closes(series)[-1] == 0
    moves = np.log(series.close / series.reference)
    np.testing.assert_allclose(np.diff(log_closes(series)), moves[1:], atol=1e-12)


def test_a_peer_reads_two_years_at_most(walk: Walk) -> None:
    assert len(log_closes(walk(5, days=60))) == 60
    assert len(log_closes(walk(5, days=CONTEXT))) == CONTEXT
    assert len(log_closes(walk(5, days=CONTEXT + 30))) == CONTEXT


@pytest.mark.parametrize("shape", ["chronos2", "bolt"])
def test_paths_have_the_quantiles_that_the_model_said(walk: Walk, shape: str) -> None:
    series = walk(3, days=120, start=490.0, sigma=0.015, wild=False)
    model = of(Normal(sigma=0.012, drift=0.002, shape=shape))
    (paths,) = model.sample([window(series)], paths=4000, seed=1)
    closes = np.log(paths.prices[:, :, 3] / (series.close[-1] * 100))
    days = np.arange(1, 6)
    np.testing.assert_allclose(np.median(closes, axis=0), 0.002 * days, atol=0.0015)
    # Beyond its outermost levels a line goes straight on, so the tails are the normal's too.
    for level in (0.02, 0.1, 0.9, 0.98):
        wanted = 0.002 * days + 0.012 * np.sqrt(days) * NormalDist().inv_cdf(level)
        np.testing.assert_allclose(np.quantile(closes, level, axis=0), wanted, atol=0.004)


def test_a_window_has_the_same_paths_beside_any_other(walk: Walk) -> None:
    first, second = window(walk(1)), window(walk(2, days=70))
    told: list[int] = []
    both = of(Normal()).sample([first, second], paths=9, seed=4, progress=told.append)
    (alone,) = of(Normal()).sample([second], paths=9, seed=4)
    np.testing.assert_array_equal(both[1].prices, alone.prices)
    (other,) = of(Normal()).sample([second], paths=9, seed=5)
    assert (other.prices != alone.prices).any()
    assert told == [1, 2]


def test_a_peer_reads_nothing_after_the_origin(walk: Walk) -> None:
    model = Normal()
    asked = window(walk(1))
    of(model).sample([asked], paths=2, seed=1)
    np.testing.assert_allclose(model.asked[0], log_closes(asked.history), atol=1e-6)


@pytest.mark.parametrize("sigma", [float("nan"), float("inf")])
def test_an_answer_that_is_no_quantiles_is_one_sentence(walk: Walk, sigma: float) -> None:
    with pytest.raises(ModelUnavailable, match="chronos:fake answered with no quantiles"):
        of(Normal(sigma=sigma)).sample([window(walk(1))], paths=2, seed=1)


def test_timesfm_puts_its_mean_before_its_deciles(walk: Walk) -> None:
    class Model:
        def forecast(self, horizon: int, inputs: list[Any]) -> tuple[None, NDArray[np.float32]]:
            row = np.concatenate([[9.0], np.array(DECILES) / 100])
            return None, np.tile(row, (len(inputs), horizon, 1)).astype(np.float32)

    model = PeerSampler("timesfm:fake", "0" * 64, TimesFM(Model()))
    found = model.moves([window(walk(1), horizon=3)])
    np.testing.assert_allclose(found, np.tile(np.array(DECILES) / 100, (1, 3, 1)), atol=1e-7)


# --- the packages themselves, on small models made here ------------------------------------------


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed: pip install 'stockllm[peers]'")


def small_chronos2(folder: Path) -> None:
    import torch
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    torch.manual_seed(1)
    settings = {
        "context_length": 64, "output_patch_size": 8, "input_patch_size": 8, "input_patch_stride": 8,
        "quantiles": [0.05, *DECILES, 0.95], "use_reg_token": True, "use_arcsinh": True,
        "max_output_patches": 4,
    }  # fmt: skip
    config = Chronos2CoreConfig(
        d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, chronos_config=settings,
        architectures=["Chronos2Model"], chronos_pipeline_class="Chronos2Pipeline",
    )  # fmt: skip
    Chronos2Model(config).save_pretrained(folder)


def small_bolt(folder: Path) -> None:
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    torch.manual_seed(1)
    settings = {
        "context_length": 64, "prediction_length": 8, "input_patch_size": 8, "input_patch_stride": 8,
        "quantiles": DECILES, "use_reg_token": True,
    }  # fmt: skip
    config = T5Config(
        vocab_size=2, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=2,
        pad_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    config.chronos_config = settings
    ChronosBoltModelForForecasting(config).save_pretrained(folder)


SMALL = {"Chronos2Model": small_chronos2, "ChronosBoltModelForForecasting": small_bolt}


@needs("chronos")
@pytest.mark.parametrize("architecture", SMALL)
def test_a_chronos_in_a_folder_forecasts(home: Home, tmp_path: Path, walk: Walk, architecture: str) -> None:
    folder = tmp_path / "small"
    SMALL[architecture](folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [architecture]
    model = sampler(f"chronos:{folder}", home)
    assert model.hash == weights_hash(folder)
    assert model.adapter_hash is None
    # Longer than what Bolt says in one piece, and series of two lengths in one batch.
    asked = [window(walk(1), horizon=10), window(walk(2, days=90), horizon=10)]
    first, again = (model.sample(asked, paths=7, seed=3) for _ in range(2))
    assert isinstance(model, PeerSampler)
    lines = model.moves(asked)
    assert (np.diff(lines, axis=2) >= 0).all()
    assert (lines[0] != lines[1]).any()
    for mine, same in zip(first, again, strict=True):
        assert mine.prices.shape == (7, 10, 4)
        np.testing.assert_array_equal(mine.prices, same.prices)


@needs("chronos")
def test_other_weights_are_another_model_in_the_ledger(home: Home, tmp_path: Path) -> None:
    import torch
    from chronos.chronos2 import Chronos2Model

    small_chronos2(tmp_path / "one")
    changed = Chronos2Model.from_pretrained(tmp_path / "one")
    with torch.no_grad():
        next(iter(changed.parameters())).add_(1.0)
    changed.save_pretrained(tmp_path / "two")
    one, two = (sampler(f"chronos:{tmp_path / name}", home) for name in ("one", "two"))
    assert one.hash != two.hash


@needs("chronos")
def test_a_llama_is_no_chronos(home: Home, tiny_model: Path) -> None:
    with pytest.raises(ModelUnavailable, match="LlamaForCausalLM is neither Chronos-2 nor Chronos-Bolt"):
        sampler(f"chronos:{tiny_model}", home)


@needs("timesfm")
def test_a_timesfm_in_a_folder_forecasts(
    home: Home, tmp_path: Path, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from timesfm.timesfm_2p5 import timesfm_2p5_torch as package

    # The package knows one size, of 200 million weights; the test makes that size small.
    whole = package.TimesFM_2p5_200M_torch_module.config
    stack = whole.stacked_transformers
    layer = dataclasses.replace(stack.transformer, model_dims=32, hidden_dims=32, num_heads=2)
    change = dataclasses.replace
    small = change(
        whole,
        output_quantile_len=128,
        tokenizer=change(whole.tokenizer, hidden_dims=32, output_dims=32),
        stacked_transformers=change(stack, num_layers=1, transformer=layer),
        output_projection_point=change(
            whole.output_projection_point, input_dims=32, hidden_dims=32, output_dims=1280
        ),
        output_projection_quantiles=change(
            whole.output_projection_quantiles, input_dims=32, hidden_dims=32, output_dims=1280
        ),
    )
    monkeypatch.setattr(package.TimesFM_2p5_200M_torch_module, "config", small)
    torch.manual_seed(1)
    folder = tmp_path / "small"
    package.TimesFM_2p5_200M_torch(torch_compile=False)._save_pretrained(folder)
    model = sampler(f"timesfm:{folder}", home)
    assert model.hash == weights_hash(folder)
    asked = [window(walk(1)), window(walk(2, days=90))]
    first, again = (model.sample(asked, paths=7, seed=3) for _ in range(2))
    assert isinstance(model, PeerSampler)
    lines = model.moves(asked)
    assert lines.shape == (2, 5, 9)
    assert (lines[0] != lines[1]).any()
    for mine, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine.prices, same.prices)


@needs("timesfm")
def test_a_folder_of_other_weights_is_one_sentence(home: Home, tiny_model: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        sampler(f"timesfm:{tiny_model}", home)
