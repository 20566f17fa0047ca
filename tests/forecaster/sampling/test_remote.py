"""A model behind an OpenAI-compatible server: sampled like any other, and every fault is one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin.openai_api import OpenAIStandIn

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import BarSeries
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.evaluation.evaluate import failures
from stockllm.forecaster.forecast import forecast
from stockllm.forecaster.models import endpoint
from stockllm.forecaster.models.endpoint import Endpoint
from stockllm.forecaster.models.registry import resolve_model, weights_hash
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.remote import RemoteSampler
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve


def candles(messages: list[dict[str, str]], seed: int) -> str:
    """As many small days as are asked for, drawn from the seed."""
    days = int(messages[-1]["content"].split("Predict the next ")[1].split()[0])
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(days):
        opened, close = (int(n) for n in rng.integers(-5, 6, 2))
        rows.append(f"{'?' if rows else '? ? ? ?'} {opened:+d} {close:+d} 2 2 m")
    return "\n".join(rows)


@pytest.fixture
def server() -> Iterator[OpenAIStandIn]:
    with OpenAIStandIn(candles) as running:
        yield running


@pytest.fixture
def window(walk: Callable[..., BarSeries]) -> Window:
    series = walk(4, 60)
    return open_window(series, resolve("2330"), 30, default_calendar().next_sessions(series.dates[-1], 3))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two tries."""
    monkeypatch.setattr(endpoint, "PAUSE", 0.0)


def at(server: OpenAIStandIn, **other: Any) -> Endpoint:
    return Endpoint(server.url, server.name, timeout=other.pop("timeout", 5.0), **other)


@pytest.mark.parametrize("kind", ["vllm", "transformers", "openai"])
def test_every_kind_of_server_gives_the_same_paths_of_valid_candles(window: Window, kind: str) -> None:
    with OpenAIStandIn(candles, kind) as server:
        drawn = RemoteSampler(at(server), "compact").sample([window], paths=40, seed=7)[0]
        again = RemoteSampler(at(server), "compact").sample([window], paths=40, seed=7)[0]
    assert drawn.prices.shape == (40, 3, 4)
    assert drawn.failures == 0
    assert failures(drawn.prices, round(float(window.history.close[-1]) * 100)) == 0
    assert np.array_equal(drawn.prices, again.prices)
    assert len(np.unique(drawn.prices[:, 0, 3])) > 3
    last = server.questions[-1]
    assert (last["temperature"], last["top_p"]) == (1.0, 1.0)
    assert [m["role"] for m in last["messages"]] == ["system", "user"]
    if kind == "vllm":
        assert (last["top_k"], last["min_p"]) == (-1, 0.0)
        # Nothing is known of the first day, and the answer begins with that.
        assert last["chat_template_kwargs"] == {"begin": "? ? ? ?"}
        # 16 answers to find out whether it speaks candles, then the others; both times.
        assert [body["n"] for body in server.questions] == [16, 24] * 2
    if kind == "transformers":
        assert '"do_sample": true' in last["generation_config"]
        assert len({body["seed"] for body in server.questions}) == 40


def test_failures_are_counted_and_made_up_for(store_with_server: Any) -> None:
    store, server = store_with_server
    server.answer = lambda messages, seed: candles(messages, seed) if seed % 5 else "I would rather not."
    entry = forecast(store, ["2330"], horizon=2, paths=30, model=server.model)[0]
    asked = [candles(body["messages"], 1) for body in server.questions for _ in range(body.get("n", 1))]
    assert entry.forecast.prices.shape == (30, 2, 4)
    assert 0 < entry.forecast.parse_failures == len(asked) - 30
    assert any(f"{len(asked) - 30} of {len(asked)} answers were no candles" in w for w in entry.warnings)
    assert entry.forecast.document()["parse_failures"] == entry.forecast.parse_failures


@pytest.fixture
def store_with_server(
    filled_home: Home, server: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Store, OpenAIStandIn]]:
    monkeypatch.setenv("STOCKLLM_OPENAI_TIMEOUT", "5")
    monkeypatch.setenv("STOCKLLM_OPENAI_RETRIES", "1")
    with Store.open(filled_home) as store:
        yield store, server


def test_the_ledger_freezes_what_can_be_known_and_says_what_cannot(
    store_with_server: tuple[Store, OpenAIStandIn],
) -> None:
    store, server = store_with_server
    first, same = (forecast(store, ["2330"], horizon=2, paths=9, model=server.model)[0] for _ in range(2))
    made = first.forecast
    assert first.id == same.id  # the list's own clock ("created") makes no other model of it
    assert made.model == server.model
    assert made.model_hash.startswith("weights unknown ")
    assert f'"host": "{server.host}"' in made.model_hash
    assert '"owned_by": "vllm"' in made.model_hash
    assert "created" not in made.model_hash
    assert made.adapter is None
    ref = resolve_model(server.model, store.home)
    assert cutoff(ref, simulated=True).seen(date(2020, 1, 2)) is None  # as of a hub model
    with pytest.raises(ModelUnavailable, match="keeps its weights to itself"):
        weights_hash(server.model)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (500, r"answered HTTP 500 \(the engine is out of memory\) \(asked 2 times\)"),
        (429, "answered HTTP 429"),
        ("hang", "did not answer within 0.3 s"),
        ("drip", "did not answer within 0.3 s"),
        ("cut", "cannot be reached"),
        ("html", "not as an OpenAI-compatible API"),
        ("odd", "not as an OpenAI-compatible API"),
        (401, "STOCKLLM_OPENAI_KEY"),
        (301, "not as an OpenAI-compatible API"),
    ],
)
def test_a_fault_is_one_sentence_and_freezes_nothing(
    store_with_server: tuple[Store, OpenAIStandIn],
    monkeypatch: pytest.MonkeyPatch,
    fault: int | str,
    sentence: str,
) -> None:
    store, server = store_with_server
    monkeypatch.setenv("STOCKLLM_OPENAI_TIMEOUT", "0.3")
    server.always = fault
    with pytest.raises(ModelUnavailable, match=sentence) as raised:
        forecast(store, ["2330"], horizon=2, paths=9, model=server.model)
    assert "\n" not in str(raised.value)
    assert raised.value.zh
    assert store.ledger.list() == []


def test_what_passes_is_asked_again(store_with_server: tuple[Store, OpenAIStandIn]) -> None:
    store, server = store_with_server
    server.faults = [503]
    entry = forecast(store, ["2330"], horizon=2, paths=9, model=server.model)[0]
    assert entry.forecast.paths == 9
    assert entry.forecast.parse_failures == 0


def test_pauses_double_and_heed_the_server(server: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PAUSE", 0.5)
    server.always = 503
    pauses: list[float] = []
    with pytest.raises(ModelUnavailable, match="asked 4 times"):
        endpoint.ask(at(server), "/models", None, pauses.append)
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            lambda *_: "Stocks can go up or down.",
            r"Of 18 answers .* 0 were candles .*no candles in it: 'Stocks",
        ),
        (lambda *_: "? ? ? ? +1 +2 3 4 m\n? +0 -2 4 3 l", "one and the same answer"),
        (lambda *_: None, "0 were candles"),
        (lambda m, s: candles(m, s) if s % 97 == 0 else "no", "were candles"),
    ],
)
def test_a_model_that_gives_no_candles_is_named(
    store_with_server: tuple[Store, OpenAIStandIn], answer: Any, sentence: str
) -> None:
    store, server = store_with_server
    server.answer = answer
    with pytest.raises(ModelUnavailable, match=sentence):
        forecast(store, ["2330"], horizon=2, paths=9, model=server.model)
    assert store.ledger.list() == []


def test_an_unknown_model_and_a_server_that_is_not_there(
    store_with_server: tuple[Store, OpenAIStandIn],
) -> None:
    store, server = store_with_server
    with pytest.raises(ModelUnavailable, match=r"'other'.*does not exist.*it lists candles"):
        forecast(store, ["2330"], model=f"openai:{server.url}#other")
    with pytest.raises(ModelUnavailable, match=r"cannot be reached .*Connection refused"):
        forecast(store, ["2330"], model="openai:http://127.0.0.1:9/v1#candles")
    assert store.ledger.list() == []


def test_the_key_goes_to_the_server_and_nowhere_else(
    store_with_server: tuple[Store, OpenAIStandIn], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, server = store_with_server
    server.key = "sk-very-secret"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(ModelUnavailable) as raised:
        forecast(store, ["2330"], horizon=2, paths=9, model=server.model)
    assert "HTTP 401" in str(raised.value)
    monkeypatch.setenv("STOCKLLM_OPENAI_KEY", "sk-very-secret")
    entry = forecast(store, ["2330"], horizon=2, paths=9, model=server.model)[0]
    assert "secret" not in repr(entry) + repr(resolve_model(server.model, store.home))
    with pytest.raises(UsageError, match=r"not sent to example\.org:1 unencrypted"):
        forecast(store, ["2330"], model="openai:http://example.org:1/v1#candles")


@pytest.mark.parametrize(
    "name",
    ["openai:", "openai:http://127.0.0.1:1/v1", "openai:#m", "openai:ftp://h/v1#m", "openai:http://:1/v1#m",
     "openai:http://h:x/v1#m", "openai:http://me:secret@h/v1#m", "openai:http://h/v1?key=secret#m",
     "openai:me:secret@h#m"],
)  # fmt: skip
def test_a_name_that_names_no_server(filled_home: Home, name: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve_model(name, filled_home)
    assert "secret" not in str(raised.value) + raised.value.zh


def test_names_are_told_apart_by_host_path_and_model(filled_home: Home) -> None:
    assert resolve_model("openai:http://H:1#a/b#c+d", filled_home).name == "openai:http://h:1/v1#a/b#c+d"
    assert resolve_model("openai:https://h/api/v1/#m", filled_home).name == "openai:https://h/api/v1#m"


def test_evaluation_treats_the_cutoff_as_unknown(store_with_server: tuple[Store, OpenAIStandIn]) -> None:
    from stockllm.forecaster.evaluation.cases import Request
    from stockllm.forecaster.evaluation.evaluate import document, evaluate

    store, server = store_with_server
    server.answer = lambda messages, seed: candles(messages, seed) if seed % 7 else "no"
    days = store.bars.series("2330").dates
    request = Request(days[-4], days[-1], (server.model,), ("2330",), horizons=(1,), paths=9)
    made = evaluate(store, request)
    figures = document(made)["models"][server.model]["1"]
    assert made.seen[server.model] is None
    assert figures["n"] == 4
    answered = sum(body.get("n", 1) for body in server.questions)
    assert figures["parse_failures"] == answered - 4 * 9 > 0


def test_a_hanging_server_holds_up_no_exit(server: OpenAIStandIn) -> None:
    """The threads that wait are daemons: the process ends with its error, not with their time-out."""
    server.faults = ["hang"] * 8
    script = (
        "from stockllm.forecaster.models.endpoint import Endpoint, ask, together\n"
        "from functools import partial\n"
        f"e = Endpoint({server.url!r}, 'candles', timeout=60.0, retries=0)\n"
        "body = {'model': 'candles'}\n"
        "def fail():\n    raise RuntimeError('first')\n"
        "together([partial(ask, e, '/chat/completions', body)] * 3 + [fail], 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert "RuntimeError: first" in done.stderr


def test_no_torch_is_loaded(filled_home: Home, server: OpenAIStandIn) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from stockllm.data.paths import Home\nfrom stockllm.data.store import Store\n"
        "from stockllm.forecaster.forecast import forecast\n"
        f"with Store.open(Home(Path({str(filled_home.root)!r}))) as store:\n"
        f"    forecast(store, ['2330'], horizon=2, paths=9, model={server.model!r})\n"
        "print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_servers_word_is_part_of_the_identity(server: OpenAIStandIn) -> None:
    one = RemoteSampler(at(server), "compact").hash
    other = RemoteSampler(replace(at(server), model="another"), "compact").hash
    server.kind = "llamacpp"
    assert len({one, other, RemoteSampler(at(server), "compact").hash}) == 3


def test_nothing_is_trained_on_a_server(filled_home: Home, server: OpenAIStandIn) -> None:
    from stockllm.forecaster.training.options import TrainOptions
    from stockllm.forecaster.training.train import train

    options = TrainOptions(codes=("2330",), model_name=server.model, engine="peft")
    with Store.open(filled_home) as store, pytest.raises(UsageError, match="no base model to train on"):
        train(store, options)
    assert server.seen == []
