"""Futures sampled by a server elsewhere: an OpenAI-compatible API behind the samplers' interface.

The server knows no grammar of ours. It is asked for whole answers at temperature 1, and those that are
no valid candles are counted and asked for anew. What comes out is therefore the model's distribution
given that the answer is valid. Sampling here masks token by token instead; the two differ by no more
than the share of answers that fail, in total variation (docs/leaving.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from stockllm.data.errors import ModelUnavailable
from stockllm.data.records import PromptStyle
from stockllm.data.sentences import Sentence
from stockllm.forecaster.encoding.answers import Answer, NoCandles, Reader
from stockllm.forecaster.encoding.prompts import NEWEST, Message, beginning, prompt_messages
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.models.endpoint import Endpoint, Turned, ask, not_understood, together
from stockllm.forecaster.sampling.sample import TOKENS_A_DAY, Paths, window_rng

#: Answers asked for in one request, where the server gives several.
AT_ONCE = 32
#: Answers after which a model that has given no candles is given up.
PATIENCE = 16
#: Answers asked for at most, as a multiple of the paths wanted.
TRIES = 4
#: Seconds that the list of a server's models may take.
LISTING = 10.0
#: As many equal answers to as many seeds are no chance.
ALL_EQUAL = 8

#: Ways to ask for plain sampling, from the one that settles most. vLLM, SGLang and llama.cpp take the
#: first; transformers serve samples only where it is told to in its own words; the OpenAI API takes
#: neither. ``-1`` is "every token" to all who read it.
_WAYS: tuple[dict[str, Any], ...] = (
    {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    {
        "generation_config": json.dumps({"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}),
    },
    {},
)
#: What a server says of its model that does not change from one request to the next.
_SAID = ("id", "owned_by", "root", "parent", "max_model_len")


@dataclass(slots=True)
class Chat:
    """A server's model asked for many answers to one question; finds out by itself how it is asked.

    ``pause`` waits between two tries of a request.
    """

    endpoint: Endpoint
    pause: Callable[[float], None] = time.sleep
    _way: int | None = field(default=None, init=False)
    _each: int = field(default=AT_ONCE, init=False)
    _limit: str = field(default="max_tokens", init=False)

    def answers(self, messages: Sequence[Message], seeds: Sequence[int], tokens: int) -> list[str]:
        """One answer for each seed, in their order; text cut off by ``tokens`` comes as it is.

        A last message that is the assistant's is what the answers begin with. A server whose model has our
        chat template goes on from there and leaves it out of the answers; others begin by themselves.

        :raises ModelUnavailable: where there is no answer.
        """
        found: list[str] = []
        if self._way is None and seeds:
            found = self._first(messages, seeds, tokens)
        rest = seeds[len(found) :]
        parts = [rest[i : i + self._each] for i in range(0, len(rest), self._each)]
        jobs = [partial(self._request, messages, part, tokens) for part in parts]
        try:
            answered = together(jobs, self.endpoint.parallel)
        except Turned as turned:
            raise self._unknown(turned) from turned
        for part, given in zip(parts, answered, strict=True):
            if len(given) < len(part):
                raise not_understood(self.endpoint)
            found += given[: len(part)]
        return found

    def _first(self, messages: Sequence[Message], seeds: Sequence[int], tokens: int) -> list[str]:
        """The first answers, by the first way that the server takes."""
        several = min(self._each, len(seeds))
        refusal: Turned | None = None
        for count in dict.fromkeys((several, 1)):
            for limit in ("max_tokens", "max_completion_tokens"):
                for way in range(len(_WAYS)):
                    self._way, self._limit = way, limit
                    try:
                        given = self._request(messages, seeds[:count], tokens)
                    except Turned as turned:
                        refusal = turned
                        if turned.status == 404:
                            raise self._unknown(turned) from turned
                        continue
                    if len(given) < count or count == 1:
                        self._each = 1 if len(seeds) > 1 else self._each
                    return given[:count]
        assert refusal is not None
        raise self._unknown(refusal) from refusal

    def _request(self, messages: Sequence[Message], seeds: Sequence[int], tokens: int) -> list[str]:
        assert self._way is not None
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        body = {
            "model": self.endpoint.model,
            "messages": list(messages[:-1] if begun else messages),
            self._limit: tokens,
            "temperature": 1.0,
            "top_p": 1.0,
            "seed": seeds[0],
            **_WAYS[self._way],
        }
        if begun and _WAYS[self._way]:
            body["chat_template_kwargs"] = {"begin": begun}
        if len(seeds) > 1:
            body["n"] = len(seeds)
        document = ask(self.endpoint, "/chat/completions", body, self.pause)
        try:
            found = [choice["message"].get("content") or "" for choice in document["choices"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise not_understood(self.endpoint) from error
        if not found or not all(isinstance(text, str) for text in found):
            raise not_understood(self.endpoint)
        return found

    def _unknown(self, turned: Turned) -> ModelUnavailable:
        """The sentence for a request that is not taken in any way, with the models there are."""
        endpoint = self.endpoint
        names = ", ".join(listed(endpoint, self.pause)[:5])
        there = f"it lists {names}; " if names else ""
        zh_there = f"它列出 {names}；" if names else ""
        return ModelUnavailable(
            f"The server at {endpoint.host} does not take the question to the model '{endpoint.model}' (HTTP "
            f"{turned.status}: {turned.words}): {there}correct --model, or ask for a shorter --horizon.",
            zh=f"{endpoint.host} 的伺服器不接受對模型「{endpoint.model}」的問題（HTTP {turned.status}："
            f"{turned.words}）：{zh_there}請修正 --model，或縮短 --horizon。",
        )


def _models(endpoint: Endpoint, pause: Callable[[float], None]) -> list[dict[str, Any]]:
    """What the server lists; nothing where it has no such list, or one that fails.

    ``transformers serve`` answers HTTP 500 where no hub cache is; the questions themselves will tell.
    """
    once = replace(endpoint, retries=0, timeout=min(endpoint.timeout, LISTING))
    try:
        document = ask(once, "/models", None, pause)
    except (Turned, ModelUnavailable):
        return []
    rows = document.get("data") if isinstance(document, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def listed(endpoint: Endpoint, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Names of the models that the server lists."""
    return [str(row["id"])[:80] for row in _models(endpoint, pause) if row.get("id")]


def identity(endpoint: Endpoint, pause: Callable[[float], None] = time.sleep) -> str:
    """What can be known of a server's model, as the ledger freezes it in place of a hash of weights.

    The host, the model's name and what the server's list says of it: a file of other weights behind the
    same name cannot be told apart, and the text begins by saying so. Equal while the server says the same.
    """
    row = next((row for row in _models(endpoint, pause) if row.get("id") == endpoint.model), None)
    said: dict[str, Any] | None = None
    if row is not None:
        said = {key: str(row[key])[:200] for key in _SAID if row.get(key) is not None}
        meta = row.get("meta")
        if isinstance(meta, dict):  # llama.cpp's: the size of the model and of its vocabulary
            said |= {
                f"meta.{k}": v for k, v in sorted(meta.items())[:20] if isinstance(v, (int, float, bool))
            }
    facts = {"host": endpoint.host, "model": endpoint.model, "server": said}
    return "weights unknown " + json.dumps(facts, sort_keys=True, ensure_ascii=False)


class RemoteSampler:
    """A server's model behind the interface of the samplers."""

    def __init__(
        self, endpoint: Endpoint, prompt: PromptStyle, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Asks the server for what it says of the model."""
        self.endpoint, self.prompt = endpoint, prompt
        self._chat = Chat(endpoint, pause)
        self._identity = identity(endpoint, pause)

    @property
    def hash(self) -> str:
        """Not a hash: nobody here knows the weights. See `identity`."""
        return self._identity

    @property
    def adapter_hash(self) -> str | None:
        return None

    def sample(
        self,
        windows: Sequence[Window],
        *,
        paths: int,
        seed: int,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> list[Paths]:
        """``paths`` futures of every window; `Paths.failures` counts the answers that were none.

        :raises ModelUnavailable: where the server does not answer, or with too few candles.
        """
        done: list[Paths] = []
        for window in windows:
            done.append(self._one(window, paths, seed))
            progress(len(done))
        return done

    def _one(self, window: Window, paths: int, seed: int) -> Paths:
        messages = prompt_messages(window, self.prompt, version=NEWEST)
        begun = beginning(window, self.prompt, NEWEST)
        if begun:
            messages = [*messages, {"role": "assistant", "content": begun}]
        reader = Reader(window, self.prompt, NEWEST)
        # Room for a tokenizer that needs more tokens, and for a sentence before the days.
        tokens = 64 + 2 * TOKENS_A_DAY[self.prompt] * len(window.future_dates)
        seeds = _seeds(window, seed, TRIES * max(paths, PATIENCE))
        good: list[Answer] = []
        asked: list[str] = []
        why: tuple[str, str] | None = None
        while len(good) < paths:
            wanted = min(paths - len(good), len(seeds) - len(asked))
            if not asked:
                wanted = min(wanted, PATIENCE)
            texts = self._chat.answers(messages, seeds[len(asked) : len(asked) + wanted], tokens)
            for text in texts:
                try:
                    good.append(read_begun(reader, begun, text))
                except NoCandles as reason:
                    words = _shortened(text)
                    why = why or (f"{reason}: '{words}'", f"{reason.zh}：「{words}」")
            asked += texts
            if len(asked) >= ALL_EQUAL and len(set(asked)) == 1 and good:
                raise self._greedy(len(asked))
            hopeless = not good and len(asked) >= PATIENCE
            if hopeless or (len(good) < paths and len(asked) == len(seeds)):
                raise self._no_candles(window, len(good), len(asked), why)
        return Paths(
            np.stack([answer.prices for answer in good]),
            np.stack([answer.volumes for answer in good]),
            failures=len(asked) - len(good),
        )

    def _greedy(self, asked: int) -> ModelUnavailable:
        host, name = self.endpoint.host, self.endpoint.model
        return ModelUnavailable(
            f"The model '{name}' at {host} gave {asked} seeds one and the same answer: it does not sample; "
            "start its server with sampling on, at temperature 1.",
            zh=f"{host} 的模型「{name}」對 {asked} 個亂數種子給了同一個答案，表示它沒有取樣：請以溫度 1 "
            "開啟取樣後再啟動伺服器。",
        )

    def _no_candles(
        self, window: Window, good: int, asked: int, why: tuple[str, str] | None
    ) -> ModelUnavailable:
        host, name = self.endpoint.host, self.endpoint.model
        en, zh = why or ("", "")
        return ModelUnavailable(
            f"Of {asked} answers of '{name}' at {host} for {window.code}, {good} were candles (the first "
            f"that was none: {en}): serve one trained on the {self.prompt} prompt, or take --model llama.",
            zh=f"{host} 的模型「{name}」對 {window.code} 的 {asked} 個答案中，只有 {good} 個是 K 線（第一個"
            f"不是的：{zh}）：請提供以 {self.prompt} 提示訓練的模型，或使用 --model llama。",
        )


def _seeds(window: Window, seed: int, count: int) -> list[int]:
    """A window's own seeds, each another: by them a server that honours seeds repeats itself."""
    rng = window_rng(window, seed)
    found: dict[int, None] = {}
    while len(found) < count:
        found |= dict.fromkeys(rng.integers(0, 2**31 - 1, size=count).tolist())
    return list(found)[:count]


def read_begun(reader: Reader, begun: str, text: str) -> Answer:
    """An answer as it stands, or behind what it was begun with, which a server may leave out.

    :raises NoCandles: where it is no candles either way; the reason is of the text as it stands.
    """
    try:
        return reader.read(text)
    except NoCandles as reason:
        if not begun:
            raise
        try:
            return reader.read(f"{begun} {text.lstrip()}")
        except NoCandles:
            raise reason from None


def _shortened(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words[:40] + "…" if len(words) > 41 else words


def told(failures: int, paths: int) -> Iterator[Sentence]:
    """What a user should know of answers that were no candles."""
    if failures:
        share = failures / (failures + paths)
        yield Sentence(
            f"{failures} of {failures + paths} answers were no candles ({share:.0%}) and asked for anew; "
            "the forecast is of those that were.",
            zh=f"{failures + paths} 個回答中有 {failures} 個不是 K 線（{share:.0%}），已重新要求；"
            "預測只用合格的回答。",
        )
