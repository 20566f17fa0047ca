"""Datasets: answers that can be worked out again, splits that do not leak, layouts that are read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import NotEnoughHistory, StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Article
from stockllm.data.store import Store
from stockllm.forecaster.datasets import card as dataset_card
from stockllm.forecaster.datasets.build import DatasetRequest, build, refuse_close
from stockllm.forecaster.datasets.formats import LAYOUTS, chat_of, fault, row
from stockllm.forecaster.datasets.tasks import KINDS, known_close
from stockllm.forecaster.encoding.prompts import Example
from stockllm.forecaster.encoding.windows import Task

TRAIN = (date(2025, 1, 2), date(2025, 5, 23))
VAL = (date(2025, 6, 3), date(2025, 8, 12))
CODES = ("2330", "2317")


def article(day: date, hour: int, title: str) -> Article:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    return Article(f"https://news.test/{title}", title, "Test Daily", at, "en", f"All about {title}.")


@pytest.fixture
def told_home(filled_home: Home) -> Home:
    """The two companies with an article every other day."""
    with Store.open(filled_home) as store:
        for code in CODES:
            days = store.bars.days(code)[::2]
            store.news.put([article(day, 3, f"{code} {day}") for day in days], code)
    return filled_home


def request(kind: str, out: Path, **more: Any) -> DatasetRequest:
    given: dict[str, Any] = {"most": 25, "language": "en", "ranges": {"train": TRAIN}} | more
    if kind == "closes":
        given.setdefault("windows", (Task(20, 5),))
    return DatasetRequest(kind, given.pop("layout", "messages"), given.pop("ranges"), CODES, out, **given)  # type: ignore[arg-type]


def rows(folder: Path, split: str = "train") -> list[list[dict[str, str]]]:
    lines = (folder / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_whatever_came_later(told_home: Home, tmp_path: Path, kind: str) -> None:
    """A store that ends with the range builds the same file: nothing later is read."""
    until = Home(tmp_path / "until")
    with Store.open(told_home) as whole, Store.open(until) as short:
        short.set_simulated(True)
        for code in CODES:
            short.bars.put(whole.bars.bars(code, end=TRAIN[1]))
            known = [a for a in whole.news.articles(code, 999) if a.published_at.date() <= TRAIN[1]]
            short.news.put(known, code)
        cards = [build(store, request(kind, tmp_path / name)) for store, name in ((whole, "a"), (short, "b"))]
    first, second = ((tmp_path / name / "train.jsonl").read_bytes() for name in "ab")
    assert first == second
    assert hashlib.sha256(first).hexdigest() == cards[0].splits["train"].sha256
    assert cards[0].splits["train"].last <= TRAIN[1].isoformat()
    assert cards[0].splits["train"].first >= TRAIN[0].isoformat()


@pytest.mark.parametrize("kind", ["prices", "concepts"])
def test_seed_decides(told_home: Home, tmp_path: Path, kind: str) -> None:
    with Store.open(told_home) as store:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            build(store, request(kind, tmp_path / name, seed=seed))
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / n).iterdir())] for n in "abc")
    assert a == b
    assert a != c


def shown(question: str) -> np.ndarray:
    """The rows of a question: reference, open, high, low, close, lots."""
    lines = re.findall(r"^\d{4}-\d\d-\d\d,(.+)$", question, re.M)
    return np.array([[float(x) for x in line.split(",")] for line in lines])


def percents(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"([+-]?\d+\.\d\d)%", text)]


def test_analysis_is_worked_out_from_what_it_shows(told_home: Home, tmp_path: Path) -> None:
    with Store.open(told_home) as store:
        build(store, request("market-analysis", tmp_path / "out"))
    for _, user, answer in rows(tmp_path / "out"):
        bars = shown(user["content"])
        moves = bars[:, 4] / bars[:, 0]
        level = np.concatenate([[1], np.cumprod(moves)])
        price, trend, volatility, volume, news, note = answer["content"].splitlines()
        assert percents(price) == pytest.approx(
            [100 * (np.prod(moves[-5:]) - 1), 100 * (level[-1] - 1)], abs=0.006
        )
        assert f"between {bars[:, 3].min():.1f} and {bars[:, 2].max():.1f} TWD" in price
        assert f"{bars[-5:, 4].mean():.2f} against the 20-day mean {bars[:, 4].mean():.2f}" in trend
        daily = float(np.log(moves).std(ddof=1))
        drop = (level / np.maximum.accumulate(level) - 1).min()
        assert percents(volatility) == pytest.approx(
            [100 * daily, 100 * daily * 252**0.5, 100 * drop], abs=0.006
        )
        assert f"{bars[-1, 5] / bars[:, 5].mean():.2f} times" in volume
        quoted = re.findall(r"^- (\S+) Test Daily: (.+)$", user["content"], re.M)
        assert quoted
        assert all(f'{day} Test Daily, "{title}"' in news for day, title in quoted)
        assert all(day <= re.findall(r"up to the close of (\S+)", user["content"])[0] for day, _ in quoted)
        assert note.startswith("Risk note")


def test_risk_figures(told_home: Home, tmp_path: Path) -> None:
    with Store.open(told_home) as store:
        build(store, request("risk", tmp_path / "out"))
    for _, user, answer in rows(tmp_path / "out"):
        bars = shown(user["content"])
        moves = bars[:, 4] / bars[:, 0] - 1
        assert len(moves) == 60
        lines = answer["content"].splitlines()
        assert percents(lines[2])[0] == pytest.approx(100 * np.quantile(moves, 0.05), abs=0.006)
        assert percents(lines[3])[-1] == pytest.approx(100 * moves.min(), abs=0.006)
        yearly = np.log(1 + moves).std(ddof=1) * 252**0.5
        assert lines[0].startswith(
            f"Risk level: {'low' if yearly < 0.2 else 'high' if yearly > 0.4 else 'medium'}"
        )


def test_sentiment_is_what_prices_did_afterwards(told_home: Home, tmp_path: Path) -> None:
    with Store.open(told_home) as store:
        card = build(store, request("sentiment", tmp_path / "out"))
        moves = {
            code: dict(zip(s.dates, np.log(s.close / s.reference), strict=True))
            for code in CODES
            for s in [store.bars.series(code)]
        }
    counted: dict[str, int] = {}
    for _, user, answer in rows(tmp_path / "out"):
        code = user["content"].split()[1]
        base, end = re.findall(r"the close of (\S+) to (\S+) the", answer["content"])[0]
        days = [d for d in moves[code] if date.fromisoformat(base) < d <= date.fromisoformat(end)]
        assert len(days) == 5
        own = sum(moves[code][d] for d in days)
        market = sum(np.mean([moves[c][d] for c in CODES]) for d in days)
        found = percents(answer["content"])
        assert found[:3] == pytest.approx([100 * own, 100 * market, 100 * (own - market)], abs=0.006)
        size = (own - market) * 100 / found[3]
        label = "positive" if size > 0.5 else "negative" if size < -0.5 else "neutral"
        assert answer["content"].lower().startswith(label)
        counted[label] = counted.get(label, 0) + 1
        published = date.fromisoformat(re.findall(r"News \((\S+),", user["content"])[0])
        assert date.fromisoformat(base) < published  # at 11:00 in Taipei that day's close is not known
    assert card.splits["train"].labels == dict(sorted(counted.items()))


def test_a_close_is_known_when_the_session_has_ended() -> None:
    morning, evening = (article(date(2025, 3, 4), hour, "x") for hour in (3, 6))
    assert known_close(morning) == date(2025, 3, 3)
    assert known_close(evening) == date(2025, 3, 4)


@pytest.mark.parametrize("language", ["zh", "both"])
def test_languages(told_home: Home, tmp_path: Path, language: str) -> None:
    with Store.open(told_home) as store:
        build(store, request("recommendation", tmp_path / "out", language=language))
    chinese = ["台股" in messages[0]["content"] for messages in rows(tmp_path / "out")]
    assert all(chinese) if language == "zh" else sum(chinese) == 13


def test_duplicates_are_removed_within_and_between(told_home: Home, tmp_path: Path) -> None:
    """Two companies with the same bars ask the same compact question; the card counts what is dropped."""
    with Store.open(told_home) as store:
        twin = [bar.__class__(**_fields(bar) | {"code": "2454"}) for bar in store.bars.bars("2330")]
        store.bars.put(twin)
        made = DatasetRequest(
            "prices", "messages", {"train": TRAIN}, ("2330", "2454"), tmp_path / "out", most=10_000
        )
        card = build(store, made)
    split = card.splits["train"]
    assert split.duplicates == split.examples == split.places // 2
    assert split.drawn == split.places


def _fields(bar: Any) -> dict[str, Any]:
    return {name: getattr(bar, name) for name in bar.__slots__}


def test_card_measures_what_lies_between(told_home: Home, tmp_path: Path) -> None:
    with Store.open(told_home) as store:
        days = list(store.bars.traded())
        card = build(
            store,
            request("prices", tmp_path / "out", ranges={"val": VAL, "train": TRAIN}, windows=(Task(20, 5),)),
        )
    (pair,) = card.leakage
    between = [d for d in map(str, days) if pair["last_day_read"] < d < pair["first_day_shown"]]
    assert pair["market_days_between"] == len(between) >= card.embargo == 5
    assert pair["ok"]
    assert list(card.splits) == ["train", "val"]
    assert card.simulated
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "SIMULATED" in readme
    assert card.splits["val"].sha256 in readme
    assert json.loads((tmp_path / "out" / "dataset_card.json").read_text("utf-8")) == card.document()


@given(st.lists(st.integers(0, 90), min_size=4, max_size=4), st.integers(1, 10))
def test_ranges_are_taken_exactly_where_they_are_apart(ends: list[int], embargo: int) -> None:
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(100)]
    a, b = sorted(ends[:2]), sorted(ends[2:])
    apart = b[0] > a[1] and b[0] - a[1] - 1 >= embargo
    ranges = {"train": (days[a[0]], days[a[1]]), "val": (days[b[0]], days[b[1]])}
    if apart:
        refuse_close(ranges, days, embargo)
    else:
        with pytest.raises(UsageError):
            refuse_close(ranges, days, embargo)


@given(
    st.text(min_size=1).filter(str.strip),
    st.text(min_size=1).filter(str.strip),
    st.text(min_size=1).filter(str.strip),
)
def test_layouts_carry_every_text(system: str, user: str, answer: str) -> None:
    chat = [
        {"role": role, "content": text}
        for role, text in zip(("system", "user", "assistant"), (system, user, answer), strict=True)
    ]
    made = Example(chat[:2], chat[2:])
    for layout in LAYOUTS:
        document = json.loads(json.dumps(row(made, layout)))  # type: ignore[arg-type]
        assert fault(document, layout) is None  # type: ignore[arg-type]
        assert chat_of(document, layout) == chat  # type: ignore[arg-type]


USER, ASSISTANT = {"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}


@pytest.mark.parametrize(
    ("layout", "document", "what"),
    [
        ("openai", [], "no JSON object"),
        ("openai", {"messages": [USER, ASSISTANT], "id": 1}, "keys"),
        ("openai", {"messages": []}, "no list"),
        ("openai", {"messages": [USER]}, "last message"),
        ("openai", {"messages": [USER, {"role": "assistant"}]}, "message 2 lacks"),
        ("openai", {"messages": [{**USER, "role": "human"}, ASSISTANT]}, "'human'"),
        ("openai", {"messages": [{**USER, "mood": "sad"}, ASSISTANT]}, "'mood'"),
        ("openai", {"messages": [{**USER, "content": " "}, ASSISTANT]}, "no text"),
        ("openai", {"messages": [USER, {**ASSISTANT, "weight": 2}]}, "weight"),
        ("openai", {"messages": [{**USER, "weight": 1}, ASSISTANT]}, "weight"),
        ("messages", {"messages": [USER, USER, ASSISTANT]}, "turns"),
        ("messages", {"messages": [USER, {**ASSISTANT, "weight": 1}]}, "'weight'"),
        ("prompt-completion", {"prompt": "?", "completion": "!"}, "no lists"),
        ("alpaca", {"instruction": "", "input": "?", "output": ""}, "missing"),
        ("sharegpt", {"conversations": [{"from": "user", "value": "?"}]}, "turn 1"),
        ("sharegpt", {"conversations": [{"from": "human", "value": "?"}]}, "last turn"),
    ],
)
def test_faults(layout: Any, document: Any, what: str) -> None:
    found = fault(document, layout)
    assert found is not None
    assert what in found


def test_openai_takes_what_the_api_takes(told_home: Home, tmp_path: Path) -> None:
    assert fault({"messages": [USER, {**ASSISTANT, "weight": 0}, USER, ASSISTANT]}, "openai") is None
    with Store.open(told_home) as store, pytest.raises(UsageError, match="no fewer than 10"):
        build(store, request("risk", tmp_path / "out", layout="openai", most=9))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datasets_reads_every_layout(
    told_home: Home, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    with Store.open(told_home) as store:
        build(store, request("risk", tmp_path / "out", layout=layout, most=12))
    files = {"train": str(tmp_path / "out" / "train.jsonl")}
    found = load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert [fault(each, layout) for each in found] == [None] * 12  # type: ignore[arg-type]
    # The README tells the splits, so that the folder alone will do.
    whole = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in whole.items()} == {"train": 12}


def test_cost_only_of_a_price_that_was_given(told_home: Home, tmp_path: Path) -> None:
    with Store.open(told_home) as store:
        free = build(store, request("risk", tmp_path / "a", layout="openai"))
        paid = build(store, request("risk", tmp_path / "b", layout="openai", price_per_million=8, epochs=3))
    assert free.cost is not None
    assert free.cost["estimate"] is None
    assert "price" in dataset_card.cost_in_words(free.cost)
    tokens = paid.splits["train"].tokens
    assert paid.cost == {
        "epochs": 3, "tokens_trained": 3 * tokens, "price_per_million": 8,
        "estimate": round(24e-6 * tokens, 4),
    }  # fmt: skip


def test_tokens_are_those_of_the_trainer(told_home: Home, tmp_path: Path, embedded_tokenizer: Any) -> None:
    with Store.open(told_home) as store:
        card = build(store, request("prices", tmp_path / "out"))
    counts = [
        len(embedded_tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"])
        for chat in rows(tmp_path / "out")
    ]
    assert (card.splits["train"].tokens, card.splits["train"].longest) == (sum(counts), max(counts))


def test_nothing_half_written(told_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_card, "write_card", full)
    with Store.open(told_home) as store, pytest.raises(StoreError, match="No space left"):
        build(store, request("risk", tmp_path / "deep" / "out"))
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "kind", "error"),
    [
        ({"ranges": {}}, "risk", UsageError),
        ({"ranges": {"train": TRAIN[::-1]}}, "risk", UsageError),
        ({"ranges": {"train": VAL, "val": TRAIN}}, "risk", UsageError),
        ({"ranges": {"train": TRAIN, "val": (TRAIN[1], VAL[1])}}, "risk", UsageError),
        ({"ranges": {"train": (date(2030, 1, 1), date(2030, 2, 1))}}, "risk", NotEnoughHistory),
        ({"ranges": {"train": (TRAIN[0], date(2025, 1, 9))}}, "sentiment", NotEnoughHistory),
        ({"most": 0}, "risk", UsageError),
        ({"seed": -1}, "risk", UsageError),
        ({"epochs": 0}, "risk", UsageError),
        ({"price_per_million": -2}, "risk", UsageError),
        ({"language": "fr"}, "risk", UsageError),
        ({"windows": (Task(5, 5),)}, "risk", UsageError),
        ({"horizon": 5}, "prices", UsageError),
        ({"horizon": 0}, "sentiment", UsageError),
    ],
)
def test_one_sentence_in_both_languages(
    told_home: Home, tmp_path: Path, wrong: dict[str, Any], kind: str, error: type[UsageError]
) -> None:
    with Store.open(told_home) as store, pytest.raises(error) as caught:
        build(store, request(kind, tmp_path / "out", **wrong))
    assert caught.value.zh
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(told_home: Home, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    with Store.open(told_home) as store, pytest.raises(UsageError, match="there already"):
        build(store, request("risk", tmp_path / "out"))
    assert mine.read_text() == "keep"


def test_every_kind_has_its_news_bound(
    told_home: Home, tmp_path: Path, fill_home: Callable[..., None]
) -> None:
    """No title later than the evening is quoted, not even one of the same night in UTC's next day."""
    with Store.open(told_home) as store:
        last = TRAIN[1]
        late = datetime(last.year, last.month, last.day, 16, 30, tzinfo=UTC)  # past midnight in Taipei
        store.news.put([Article("https://news.test/late", "too late", "X", late, "en")], "2330")
        only = (last - timedelta(days=45), last)
        build(store, request("market-analysis", tmp_path / "out", ranges={"train": only}, most=500))
    assert "too late" not in (tmp_path / "out" / "train.jsonl").read_text("utf-8")
