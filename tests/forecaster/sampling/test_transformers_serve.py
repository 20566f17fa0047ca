"""A forecast through ``transformers serve`` is the local model's, in distribution.

The server is the real one, on loopback, with the embedded model. It knows no grammar, so what comes
back is the model's own distribution given that the answer is valid; local sampling masks token by
token. The two differ, in total variation, by at most the share of answers that fail, which is held
small here. Three statistics, each with a bound that chance passes once in some ten thousand runs, and
fixed seeds: the closes (Kolmogorov-Smirnov), the share that parses, and the mean log probability that the
local model gives to the server's answers, which also tells a changed temperature or other weights.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.answers import NoCandles, Reader
from stockllm.forecaster.encoding.limits import LOOK_BACK
from stockllm.forecaster.encoding.prompts import beginning, prompt_messages
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.forecast import forecast
from stockllm.forecaster.models.registry import ModelRef, base_model_dir, load_model
from stockllm.forecaster.sampling.free import answers, log_likelihoods
from stockllm.forecaster.sampling.remote import Chat
from stockllm.forecaster.sampling.sample import sample

pytest.importorskip("openai", reason="transformers serve needs the extra stockllm[serve]")

PATHS = 150
#: Standard errors that chance passes once in 16,000 times.
SIGMAS = 4.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """``serve(folder)``: transformers' own server with that model; its ``--model`` name here."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> str:
        port = free_port()
        command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
        )
        started.append(process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "Uvicorn running" in line:
                return f"openai:http://127.0.0.1:{port}/v1#{folder}"
        raise AssertionError("".join(said))

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def next_day(store: Store) -> Window:
    series = store.bars.series("2330")
    past = LOOK_BACK["compact"]
    return open_window(
        series, store.company("2330"), past, store.calendar().next_sessions(series.dates[-1], 1)
    )


def valid(window: Window, texts: Sequence[str]) -> list[str]:
    """Those that are the candles asked for and nothing else, with the words that they were begun with."""
    reader, good = Reader(window, "compact"), []
    for given in texts:
        text = f"{beginning(window, 'compact')} {given.lstrip()}"
        with suppress(NoCandles):
            if reader.read(text).exact:
                good.append(text)
    return good


def distance(here: Any, there: Any) -> float:
    """Between two means, in standard errors."""
    return abs(float(here.mean() - there.mean())) / float(
        np.sqrt(here.var() / len(here) + there.var() / len(there))
    )


@pytest.mark.timeout(900)  # two processes load torch: minutes on a machine that is busy
def test_a_forecast_through_transformers_serve_is_the_local_one(
    serve: Callable[[Path], str], filled_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One at a time: the server's seeds are of its process, not of a request.
    monkeypatch.setenv("STOCKLLM_OPENAI_PARALLEL", "1")
    heard: list[str] = []
    asked = Chat.answers

    def listening(self: Chat, *given: Any) -> list[str]:
        texts = asked(self, *given)
        heard.extend(texts)
        return texts

    monkeypatch.setattr(Chat, "answers", listening)
    with Store.open(filled_home) as store:
        window = next_day(store)
        there = forecast(store, ["2330"], horizon=1, paths=PATHS, model=serve(base_model_dir()))[0].forecast
    assert there.parse_failures == len(heard) - PATHS < 0.1 * len(heard)

    loaded = load_model(ModelRef("llama", base_model_dir()))
    model, tokenizer = loaded.model, loaded.tokenizer
    masked = sample(model, tokenizer, [window], paths=2500, seed=1)[0]
    assert kstest(there.prices[:, 0, 3], masked.prices[:, 0, 3]).pvalue > 1e-4
    assert kstest(there.volumes[:, 0], masked.volumes[:, 0]).pvalue > 1e-4

    messages = prompt_messages(window, "compact")
    begun = [*messages, {"role": "assistant", "content": beginning(window, "compact")}]
    free = answers(model, tokenizer, begun, 800, tokens=12, seed=1)
    # The same model, a little colder: what the statistic below has to have the power to tell.
    cold = answers(model, tokenizer, begun, PATHS, tokens=12, seed=2, temperature=0.7)
    told, own, colder = (
        log_likelihoods(model, tokenizer, messages, valid(window, texts))[0] for texts in (heard, free, cold)
    )
    parsed, here = len(told) / len(heard), len(own) / len(free)
    assert abs(parsed - here) < SIGMAS * np.sqrt(here * (1 - here) / len(heard))
    assert distance(told, own) < SIGMAS < distance(colder, own)
