"""The quality of a model's text: what is asked, from which days, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from standin.openai_api import OpenAIStandIn

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.evaluation.quality import TASKS, Ask, document, measure
from stockllm.forecaster.models.registry import load_model, resolve_model
from stockllm.forecaster.sampling.free import log_likelihoods


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, fill_home: Callable[..., None]) -> Iterator[Store]:
    home = Home(tmp_path_factory.mktemp("quality"))
    fill_home(home)
    with Store.open(home) as opened:
        yield opened


#: What the stand-in says of a text, by its task; the reference answers of the store's own tasks end so too.
NOTE = "Risk note: this is no advice."


def talk(messages: list[dict[str, str]], seed: int) -> str:
    question = messages[-1]["content"]
    if question.startswith("volatility"):
        lines = ["? ? ? ? +1 +2 3 4 m", *["? +1 +2 3 4 m"] * 4]
        return "\n".join(lines if seed % 2 else [*lines, "That is all."])
    last = question.splitlines()[-2] if "News" not in question else ""
    return f"The last bar: {last}. It may reach 999999. {NOTE if seed % 2 else ''}"


@pytest.fixture
def server() -> Iterator[OpenAIStandIn]:
    with OpenAIStandIn(talk) as running:
        yield running


def test_a_server_is_counted_by_what_it_says(store: Store, server: OpenAIStandIn) -> None:
    ask = Ask(count=8, language="en", seed=2)
    heard: list[tuple[int, int]] = []
    made = measure(store, resolve_model(server.model, store.home), ask, lambda *done: heard.append(done))
    facts = document(made)
    assert list(facts["tasks"]) == list(TASKS)
    assert heard[-1] == (32, 32)
    assert len(server.questions) == 32
    prices, risk = facts["tasks"]["prices"], facts["tasks"]["risk"]
    assert (prices["valid"], prices["exact"]) == (1.0, 0.5)
    assert prices["perplexity"] is None  # a chat API tells no likelihoods
    assert prices["risk_note"] is None
    assert prices["numbers_in_context"] is None
    assert risk["valid"] is None
    assert risk["risk_note"] == 0.5
    # The last bar has a day, four prices, a reference and a volume of the context; 999999 is invented.
    assert risk["numbers_in_context"] == pytest.approx(7 / 8)
    assert 0 < risk["numbers_in_context_of_truth"] < 1
    assert 0 < risk["seconds"]["p50"] <= risk["seconds"]["p95"] <= risk["seconds"]["p99"]
    assert facts["seen"] is None  # nobody knows until when it was trained
    assert facts["simulated"] is True


def test_the_same_seed_asks_the_same(store: Store, server: OpenAIStandIn) -> None:
    ref = resolve_model(server.model, store.home)
    first, again, other = (
        [(s.code, s.evening, s.question) for s in measure(store, ref, Ask(count=5, seed=seed)).samples]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_local_model_has_the_perplexity_of_its_likelihoods(store: Store, tiny_model: Path) -> None:
    ref = resolve_model(str(tiny_model), store.home)
    made = measure(store, ref, Ask(tasks=("prices",), count=3))
    facts = document(made)["tasks"]["prices"]
    loaded = load_model(ref)
    nats, tokens = 0.0, 0
    for sample in made.samples:
        from stockllm.forecaster.encoding.prompts import COMPACT_SYSTEM_2

        messages = [
            {"role": "system", "content": COMPACT_SYSTEM_2},
            {"role": "user", "content": sample.question},
        ]
        told, counts = log_likelihoods(loaded.model, loaded.tokenizer, messages, [sample.truth])
        nats, tokens = nats + float(told[0]), tokens + int(counts[0])
    assert facts["tokens"] == tokens == 3 * (4 + 5 + 4 * (1 + 5) + 1)
    assert facts["perplexity"] == pytest.approx(np.exp(-nats / tokens))
    # A random model knows nothing: about one in its whole vocabulary.
    assert facts["perplexity"] > 500
    assert facts["exact"] == 0.0


def test_only_days_after_the_cutoff_are_asked_about(
    store: Store, server: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stockllm.forecaster.evaluation import quality
    from stockllm.forecaster.sampling.cutoffs import Cutoff

    days = store.bars.series("2330").dates
    monkeypatch.setattr(quality, "cutoff", lambda *_, **__: Cutoff(days[-21]))
    ref = resolve_model(server.model, store.home)
    made = measure(store, ref, Ask(count=50))
    assert made.period == (days[-21] + timedelta(days=1), days[-1])
    assert made.seen is False
    # 2 companies: the answers to 16 evenings of prices lie after it, and 20 evenings of text.
    asked = {task: [s for s in made.samples if s.task == task] for task in TASKS}
    assert len(asked["prices"]) == 32
    assert len(asked["risk"]) == 40
    assert min(s.evening for s in asked["risk"]) == days[-20]
    assert min(s.evening for s in asked["prices"]) == days[-21]
    assert measure(store, ref, Ask(tasks=("risk",), count=1, start=days[-40])).seen is True


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (Ask(tasks=("poems",)), UsageError, "no text task 'poems'"),
        (Ask(count=0), UsageError, "1 to 10,000"),
        (Ask(seed=-1), UsageError, "seed"),
        (Ask(start=date(2030, 1, 1)), NotEnoughHistory, "No day is left"),
        (Ask(tasks=("prices",), start=date(2025, 1, 2), end=date(2025, 1, 10)), NotEnoughHistory, "longer"),
    ],
)
def test_what_cannot_be_measured(
    store: Store, server: OpenAIStandIn, ask: Ask, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as raised:
        measure(store, resolve_model(server.model, store.home), ask)
    assert raised.value.zh  # type: ignore[attr-defined]


def test_a_formula_writes_no_text_and_a_server_may_be_gone(store: Store) -> None:
    with pytest.raises(UsageError, match="writes no text"):
        measure(store, resolve_model("ewma", store.home), Ask())
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        measure(store, resolve_model("openai:http://127.0.0.1:9/v1#m", store.home), Ask(count=1))


def test_a_question_too_long_for_the_model(store: Store, tiny_model: Path) -> None:
    loaded = load_model(resolve_model(str(tiny_model), store.home))
    from stockllm.forecaster.sampling.free import fits

    with pytest.raises(UsageError, match="more than the 4,096"):
        fits(loaded.model, loaded.tokenizer, [{"role": "user", "content": "+1 " * 5000}], 10)
