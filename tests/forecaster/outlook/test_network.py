"""The small network: the same twice, better than the normal walk where there is something to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from worlds import make_market

from stockllm.data.errors import NotEnoughHistory
from stockllm.forecaster.outlook import network as learning
from stockllm.forecaster.outlook.network import (
    BOTH,
    EVENING,
    HIDDEN,
    HORIZONS,
    LEVELS,
    QUANTILES,
    WIDTH,
    WORLD_WIDTH,
    Network,
    fit,
)
from stockllm.forecaster.outlook.outlook import Outlook, placed
from stockllm.forecaster.sampling import informed
from stockllm.forecaster.sampling.informed import _RANKS, learnt

END, DAYS = 220, 260


def pinball(quantiles: np.ndarray, target: np.ndarray) -> float:
    off = target[:, None] - quantiles
    return float(np.maximum(LEVELS * off, (LEVELS - 1) * off).mean())


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    market = make_market(days=DAYS)
    return Outlook.of(market.panel(), market.world)


@pytest.fixture(scope="module")
def taught(outlook: Outlook) -> Network:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "BATCH", 128)
        rows, columns = outlook.learnable(0, END)
        return fit(outlook.examples(rows, columns, targets=True), passes=8)


def test_it_beats_the_normal_walk_where_the_world_moves_the_market(outlook: Outlook, taught: Network) -> None:
    rows, columns = outlook.learnable(END, DAYS)
    examples = outlook.examples(rows, columns, targets=True)
    walk = pinball(np.tile(_RANKS, (len(rows), 1)), examples.targets[:, 0])
    seen = taught.quantiles(examples.inputs(np.full(len(rows), BOTH)))
    blind = taught.quantiles(examples.inputs(np.full(len(rows), EVENING)))
    assert pinball(seen[:, 0], examples.targets[:, 0]) < 0.93 * walk
    # Without the night there is nothing to know here, and not much is lost by trying.
    assert 0.97 * walk < pinball(blind[:, 0], examples.targets[:, 0]) < 1.06 * walk


def test_quantiles_are_in_order(outlook: Outlook, taught: Network) -> None:
    rows, columns = outlook.learnable(END, DAYS)
    found = taught.quantiles(outlook.examples(rows, columns).inputs(np.full(len(rows), BOTH)))
    assert found.shape == (len(rows), len(HORIZONS), QUANTILES)
    assert (np.diff(found, axis=-1) > 0).all()


def test_the_same_examples_give_the_same_network(outlook: Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(learning, "BATCH", 256)
    rows, columns = outlook.learnable(0, END)
    examples = outlook.examples(rows, columns, targets=True)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = fit(examples, passes=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    with torch.inference_mode():
        again = fit(examples, passes=1)
    assert again.digest == first.digest
    assert fit(examples, seeds=(2,), passes=1).digest != first.digest
    two = fit(examples, seeds=(1, 2), passes=1)
    assert two.members[0].keys() == first.members[0].keys()
    assert np.array_equal(two.members[0]["out.weight"], first.members[0]["out.weight"])


def test_it_is_written_and_read_back(network: Network, taught: Network, tmp_path: Path) -> None:
    both = Network((*network.members, *taught.members))
    both.save(tmp_path)
    found = Network.load(tmp_path)
    assert found.digest == both.digest
    assert found.digest not in (network.digest, taught.digest)
    inputs = np.random.default_rng(0).normal(size=(9, WIDTH + WORLD_WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(found.quantiles(inputs), both.quantiles(inputs))
    parts = (network.quantiles(inputs) + taught.quantiles(inputs)) / 2
    np.testing.assert_allclose(found.quantiles(inputs), parts, rtol=1e-5, atol=1e-6)
    (tmp_path / learning.WEIGHTS_FILE).unlink()
    with pytest.raises(OSError, match=r"outlook\.safetensors"):
        Network.load(tmp_path)


def test_weights_of_nothing_say_the_normal_distribution() -> None:
    shapes = {
        "first.weight": (HIDDEN, WIDTH + WORLD_WIDTH), "first.bias": (HIDDEN,),
        "second.weight": (HIDDEN, HIDDEN), "second.bias": (HIDDEN,),
        "out.weight": (learning._OUT, HIDDEN), "out.bias": (learning._OUT,),
    }  # fmt: skip
    silent = Network(({name: np.zeros(shape, np.float32) for name, shape in shapes.items()},))
    found = silent.quantiles(np.ones((2, WIDTH + WORLD_WIDTH), np.float32))
    np.testing.assert_allclose(found, np.broadcast_to(_RANKS, found.shape), atol=1e-5)
    np.testing.assert_allclose(placed(found)[..., 0], 0, atol=1e-6)
    np.testing.assert_allclose(placed(found)[..., 1], 1, atol=2e-3)


def test_no_target_reaches_past_the_end(outlook: Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network taught up to a day knows nothing of the moves that end after it."""
    given: list[learning.Examples] = []

    def watch(examples: learning.Examples) -> Network:
        given.append(examples)
        return Network(())

    monkeypatch.setattr(informed, "fit", watch)
    monkeypatch.setattr(informed, "FEWEST", 100)
    until = int(outlook.panel.days[END - 1])
    learnt(outlook, until, frozenset({"3000", "3001"}))
    (examples,) = given
    rows, _ = outlook.learnable(0, END, range(2, 24))
    assert len(examples) == len(rows)
    for k, ahead in enumerate(HORIZONS):
        there = np.isfinite(examples.targets[:, k])
        assert (there == (rows + ahead <= END)).all()
    monkeypatch.setattr(informed, "FEWEST", 10**6)
    with pytest.raises(NotEnoughHistory, match="1,000,000 days to learn from"):
        learnt(outlook, until)
