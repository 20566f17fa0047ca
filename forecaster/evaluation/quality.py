"""How good a model's text is, whatever its forecasts are worth: asked without a grammar, in its own words.

Measured on evenings after the model's cut-off: perplexity of the true answers, the share of answers that
are the candles asked for, the share of numbers that stand in the question, the share with a note of
risk, and how long an answer takes. docs/leaving.md says what each figure means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.records import PromptStyle
from stockllm.data.store import Store
from stockllm.forecaster.datasets.tasks import Place, Questions, kind_named
from stockllm.forecaster.encoding.answers import NoCandles, Reader
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.prompts import Example, Message, training_messages
from stockllm.forecaster.encoding.windows import Task, Window, window_at
from stockllm.forecaster.evaluation.text_measures import has_risk_note, numbers_in_context, percentiles
from stockllm.forecaster.models.endpoint import Endpoint
from stockllm.forecaster.models.registry import EMBEDDED, ModelRef, load_model, refuse_peer
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.sample import TOKENS_A_DAY

PRICES = "prices"
TEXTS = ("market-analysis", "risk", "recommendation")
TASKS = (PRICES, *TEXTS)
#: What a question about prices shows and asks for.
WINDOW = Task(60, 5)
#: Tokens that a text may take.
TEXT_TOKENS = 512
#: Evenings looked at where nothing says until when a model was trained.
LAST_SESSIONS = 60

Progress = Callable[[int, int], None]
#: First and last day.
Period = tuple[date, date]


@dataclass(frozen=True, slots=True)
class Ask:
    """What to measure: ``count`` questions of each task, evenings from ``start`` to ``end``.

    ``start`` None is the day after the model's cut-off, or the last 60 market days where nobody knows it.
    """

    tasks: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    count: int = 20
    start: date | None = None
    end: date | None = None
    prompt: PromptStyle = "compact"
    language: str = "zh"
    seed: int = 3407

    def check(self) -> None:
        """UsageError for what cannot be measured."""
        for task in self.tasks:
            if task not in TASKS:
                raise UsageError(
                    f"There is no text task '{task}': choose some of {', '.join(TASKS)}, with commas.",
                    zh=f"沒有「{task}」這種文字任務：請從 {'、'.join(TASKS)} 中選，用逗號分開。",
                )
        if not 1 <= self.count <= 10_000:
            raise UsageError(
                f"The number of questions is 1 to 10,000 a task, not {self.count}.",
                zh=f"每種任務的問題數是 1 到 10,000，不是 {self.count}。",
            )
        if not 0 <= self.seed < 2**31:
            raise UsageError(
                f"The seed is a whole number from 0 to 2147483647, not {self.seed}.",
                zh=f"亂數種子是 0 到 2147483647 的整數，不是 {self.seed}。",
            )


@dataclass(frozen=True, slots=True)
class Sample:
    """One question and what the model answered. ``exact`` and ``valid`` are of prices alone.

    ``valid``: the candles asked for can be read from it; ``exact``: it is nothing else. ``nats`` and
    ``tokens`` are of the true answer, None where the model does not tell its likelihood.
    """

    task: str
    code: str
    evening: date
    question: str
    truth: str
    answer: str
    seconds: float
    valid: bool | None = None
    exact: bool | None = None
    nats: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """The samples of a model, the days they are from, and whether it may have read them.

    ``seen`` is None where nothing says until when it was trained.
    """

    model: str
    ask: Ask
    period: Period
    samples: tuple[Sample, ...]
    seen: bool | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class _Question:
    task: str
    code: str
    evening: date
    example: Example
    window: Window | None = None


def measure(
    store: Store, ref: ModelRef, ask: Ask, progress: Progress = lambda _done, _total: None
) -> Quality:
    """Ask a model the questions of ``ask``, one at a time, and keep what it says.

    :raises UsageError: for what cannot be asked, or a formula in place of a model.
    :raises NotEnoughHistory: where no company has days enough after the model's cut-off.
    :raises ModelUnavailable: where the model cannot be had, or its server does not answer.
    """
    ask.check()
    refuse_peer(ref)
    if ref.base is None:
        raise UsageError(
            f"{ref.name} is a formula and writes no text: name a model, such as llama or openai:URL#NAME.",
            zh=f"{ref.name} 是公式，不會寫文字：請指定模型，例如 llama 或 openai:網址#名稱。",
        )
    simulated = store.simulated
    limit = cutoff(ref, simulated=simulated, calibrated=False)
    tasks = ask.tasks or ((PRICES,) if ref.name == EMBEDDED else TASKS)
    ask, period = replace(ask, tasks=tasks), _period(store, ask, limit.day)
    questions = [question for task in tasks for question in _questions(store, task, ask, period)]
    speaker = _Server(ref.server) if ref.server is not None else _Local(ref)
    samples = []
    for number, question in enumerate(questions, 1):
        samples.append(_sample(speaker, question, ask, number))
        progress(number, len(questions))
    name = ref.name if ref.adapter is None else f"{ref.name}+{ref.adapter}"
    return Quality(name, ask, period, tuple(samples), limit.seen(period[0]), simulated)


def _period(store: Store, ask: Ask, last_read: date | None) -> Period:
    days = sorted(store.bars.traded())
    if not days:
        raise NotEnoughHistory(
            "The store holds no prices: bring some in with 'stockllm import PATH'.",
            zh="資料庫裡沒有價格：請用「stockllm import 路徑」匯入。",
        )
    end = ask.end or days[-1]
    start = ask.start
    if start is None and last_read is not None:
        start = last_read + timedelta(days=1)
    if start is None:
        start = min([day for day in days if day <= end][-LAST_SESSIONS:], default=end)
    if start > end:
        read = f"已讀到 {last_read}" if last_read is not None else "期間的開始較晚"
        raise NotEnoughHistory(
            f"No day is left from {start} to {end}: import later prices, or name a period with --start and "
            "--end, whose figures are marked where the model has read it.",
            zh=f"{start} 到 {end} 之間沒有日子（{read}）：請匯入更新的價格，或以 --start 與 --end 指定期間"
            "（模型看過的會標示）。",
        )
    return start, end


def _questions(store: Store, task: str, ask: Ask, period: Period) -> list[_Question]:
    """``ask.count`` questions of a task, drawn from all there are by its seed."""
    rng = np.random.default_rng([ask.seed, TASKS.index(task)])
    ask = replace(ask, codes=ask.codes or tuple(store.bars.codes()))
    found = _windows(store, ask, period, rng) if task == PRICES else _texts(store, task, ask, period, rng)
    if not found:
        start, end = period
        raise NotEnoughHistory(
            f"No company has the days that a question about {task} needs from {start} to {end}: choose a "
            "longer period, or import more prices.",
            zh=f"{start} 至 {end} 之間沒有公司有足夠的日子可以問 {task}：請選較長的期間，或匯入更多。",
        )
    return found


def _windows(store: Store, ask: Ask, period: Period, rng: np.random.Generator) -> list[_Question]:
    """Evenings whose following days are known; the look-back may lie before the period, as in a forecast."""
    places = []
    series = {code: store.bars.series(code, end=period[1]) for code in ask.codes}
    for code, bars in series.items():
        first = max(WINDOW.past - 1, WARM_UP)
        places += [
            (code, at) for at in range(first, len(bars) - WINDOW.future) if bars.dates[at + 1] >= period[0]
        ]
    chosen = rng.choice(len(places), min(ask.count, len(places)), replace=False) if places else ()
    found = []
    for index in sorted(int(i) for i in chosen):
        code, at = places[index]
        window = window_at(series[code], store.company(code), WINDOW, at)
        found.append(_Question(PRICES, code, window.origin, training_messages(window, ask.prompt), window))
    return found


def _texts(store: Store, task: str, ask: Ask, period: Period, rng: np.random.Generator) -> list[_Question]:
    questions = Questions(store, kind_named(task), ask.codes, language=ask.language)
    # The rows shown may begin earlier: it is the evening that has to be new to the model.
    days = {code: store.bars.series(code).dates for code in ask.codes}
    places: list[Place] = [
        place for place in questions.places(date.min, period[1]) if days[place.code][place.at] >= period[0]
    ]
    found: list[_Question] = []
    for index in rng.permutation(len(places)):
        if len(found) == ask.count:
            break
        item = questions.item(places[int(index)], len(found))
        if item is not None:
            found.append(_Question(task, item.code, item.evening, item.example))
    return found


class _Local:
    """A model in this process."""

    def __init__(self, ref: ModelRef) -> None:
        self._loaded = load_model(ref)

    def say(self, messages: Sequence[Message], tokens: int, seed: int) -> str:
        from stockllm.forecaster.sampling.free import answers, fits

        loaded = self._loaded
        fits(loaded.model, loaded.tokenizer, messages, tokens)
        return answers(loaded.model, loaded.tokenizer, messages, 1, tokens=tokens, seed=seed)[0]

    def likelihood(self, messages: Sequence[Message], text: str) -> tuple[float, int] | None:
        from stockllm.forecaster.sampling.free import log_likelihoods

        nats, tokens = log_likelihoods(self._loaded.model, self._loaded.tokenizer, messages, [text])
        return float(nats[0]), int(tokens[0])


class _Server:
    """A model behind an OpenAI-compatible server, asked one question at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        from stockllm.forecaster.sampling.remote import Chat

        self._chat = Chat(endpoint)

    def say(self, messages: Sequence[Message], tokens: int, seed: int) -> str:
        return self._chat.answers(messages, [seed], tokens)[0]

    def likelihood(self, messages: Sequence[Message], text: str) -> tuple[float, int] | None:
        """A chat API does not say how likely it holds another's answer to be."""
        del messages, text
        return None


def _sample(speaker: _Local | _Server, question: _Question, ask: Ask, number: int) -> Sample:
    messages, truth = question.example.prompt, question.example.completion[0]["content"]
    # As much as a forecast leaves a server (`remote.py`).
    room = 64 + 2 * TOKENS_A_DAY[ask.prompt] * WINDOW.future if question.window else TEXT_TOKENS
    before = time.perf_counter()
    answer = speaker.say(messages, room, ask.seed + number)
    seconds = time.perf_counter() - before
    told = speaker.likelihood(messages, truth)
    valid = exact = None
    if question.window is not None:
        try:
            exact = Reader(question.window, ask.prompt).read(answer).exact
            valid = True
        except NoCandles:
            valid = exact = False
    return Sample(
        question.task,
        question.code,
        question.evening,
        messages[-1]["content"],
        truth,
        answer,
        seconds,
        valid,
        exact,
        *(told or (None, None)),
    )


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """The figures of some samples of one task; None where there is nothing to take one from."""
    told = [(s.nats, s.tokens) for s in samples if s.nats is not None and s.tokens is not None]
    nats, tokens = (float(sum(column)) for column in zip(*told, strict=True)) if told else (0.0, 0.0)
    texts = [s for s in samples if s.task != PRICES]
    prices = [s for s in samples if s.task == PRICES]
    return {
        "answers": len(samples),
        "perplexity": float(np.exp(-nats / tokens)) if tokens else None,
        "tokens": int(tokens) if told else None,
        "valid": _share([bool(s.valid) for s in prices]),
        "exact": _share([bool(s.exact) for s in prices]),
        "numbers_in_context": _in_context([(s.answer, s.question) for s in texts]),
        "numbers_in_context_of_truth": _in_context([(s.truth, s.question) for s in texts]),
        "risk_note": _share([has_risk_note(s.answer) for s in texts]),
        "seconds": percentiles([s.seconds for s in samples]) if samples else None,
    }


def document(quality: Quality) -> dict[str, Any]:
    """What ``--json`` prints."""
    ask = quality.ask
    return {
        "model": quality.model,
        "start": quality.period[0].isoformat(),
        "end": quality.period[1].isoformat(),
        "seen": quality.seen,
        "prompt": ask.prompt,
        "language": ask.language,
        "seed": ask.seed,
        "codes": sorted({sample.code for sample in quality.samples}),
        "tasks": {
            task: figures([sample for sample in quality.samples if sample.task == task]) for task in ask.tasks
        },
        "simulated": quality.simulated,
    }


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _in_context(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Of all numbers of all answers; None where there is no number."""
    counts = [numbers_in_context(answer, context) for answer, context in pairs]
    said = sum(total for _, total in counts)
    return sum(inside for inside, _ in counts) / said if said else None
