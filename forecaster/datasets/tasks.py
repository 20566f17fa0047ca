"""Which examples a dataset of each task can have: places in the store, and what stands at one.

A place is an evening of one company (for sentiment: an article). Whatever a question shows and whatever
its answer reads lies within the range of its split, first day and last.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

from stockllm.data.errors import UsageError
from stockllm.forecaster.closes import text as closes
from stockllm.forecaster.datasets import answers
from stockllm.forecaster.datasets.concepts import TERMS, concept
from stockllm.forecaster.datasets.figures import aftermath, market_moves
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.prompts import Example, training_messages
from stockllm.forecaster.encoding.windows import Task, window_at
from stockllm.forecaster.training.examples import NEWS_COUNT, NEWS_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stockllm.data.records import Article, BarSeries, PromptStyle
    from stockllm.data.store import Store
    from stockllm.market.companies import Company

Kind = Literal["prices", "closes", "sentiment", "market-analysis", "risk", "recommendation", "concepts"]
KINDS: tuple[str, ...] = get_args(Kind)

#: Rows that a text question shows; volatility and value at risk want more of them.
ROWS: dict[Kind, int] = {"market-analysis": 20, "risk": 60, "recommendation": 20, "concepts": 20}
#: The GPT-2 recipe of the older course project: so many closes in, so many out.
CLOSES = Task(closes.PAST, closes.FUTURE)
PRICES = Task(60, 5)
SENTIMENT_HORIZON = 5
#: Market days between two splits of a task whose answers read nothing after their evening.
TEXT_EMBARGO = 5
CLOSES_SYSTEM = "You continue a series of daily closing prices in TWD."
#: The exchange's session ends; news of a later hour meets a close that is known.
_CLOSE = time(13, 30)
_TAIPEI = ZoneInfo("Asia/Taipei")


@dataclass(frozen=True, slots=True)
class Item:
    """One example and its days: ``first`` and ``evening`` of the question, ``last`` that the answer reads.

    ``label`` is the class of a task that has classes, else empty.
    """

    code: str
    first: date
    evening: date
    last: date
    example: Example
    label: str = ""


def kind_named(name: str) -> Kind:
    """A task by its name; UsageError for anything else."""
    for kind in get_args(Kind):
        if name == kind:
            return kind  # type: ignore[no-any-return]
    raise UsageError(
        f"There is no dataset task {name!r}; choose one of {', '.join(KINDS)}.",
        zh=f"沒有 {name!r} 這種資料集任務；可選 {'、'.join(KINDS)}。",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where an example lies: bar ``at`` of a company; ``which`` article or concept, window or language."""

    code: str
    at: int
    which: int = 0


class Questions:
    """The examples of one task over some companies. Reads each company's bars once."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        codes: tuple[str, ...],
        *,
        windows: tuple[Task, ...] = (),
        horizon: int | None = None,
        prompt: PromptStyle = "compact",
        language: str = "zh",
    ) -> None:
        """``windows`` are those of prices and closes, ``horizon`` the days that sentiment looks ahead.

        ``language`` is ``zh``, ``en`` or ``both``, which turns every other example into English.

        :raises UsageError: for windows or a horizon that this task has no use for.
        """
        if windows and kind not in ("prices", "closes"):
            raise UsageError(
                f"The task {kind} has no windows: leave --windows out.",
                zh=f"{kind} 任務沒有視窗：請拿掉 --windows。",
            )
        if horizon is not None and kind != "sentiment":
            raise UsageError(
                f"The task {kind} has no horizon of its own: leave --horizon out.",
                zh=f"{kind} 任務沒有自己的天數：請拿掉 --horizon。",
            )
        if horizon is not None and not 1 <= horizon <= 60:
            raise UsageError(
                f"The horizon is 1 to 60 trading days, not {horizon}.",
                zh=f"--horizon 是 1 到 60 個交易日，不是 {horizon}。",
            )
        self.kind, self.codes, self.prompt, self.language = kind, codes, prompt, language
        self.windows = windows or ((PRICES,) if kind == "prices" else (CLOSES,))
        self.horizon = horizon or SENTIMENT_HORIZON
        self._store = store
        self._series: dict[str, BarSeries] = {code: store.bars.series(code) for code in codes}
        self._companies: dict[str, Company] = {code: store.company(code) for code in codes}
        self._articles: dict[str, list[Article]] = {}

    @property
    def last(self) -> date | None:
        """The last day of any of the companies' bars."""
        return max((series.dates[-1] for series in self._series.values() if len(series)), default=None)

    def ends(self) -> tuple[str, str, date | None]:
        """(what the examples are made of, the same in Chinese, its last day)."""
        if self.kind != "sentiment":
            return "prices", "資料庫的價格", self.last
        newest = [self._news(code)[-1] for code in self.codes if self._news(code)]
        days = [article.published_at.astimezone(_TAIPEI).date() for article in newest]
        return "news of these companies", "這些公司的新聞", max(days, default=None)

    @property
    def embargo(self) -> int:
        """Market days that must lie between two splits: the longest horizon of an answer."""
        if self.kind in ("prices", "closes"):
            return max(task.future for task in self.windows)
        return self.horizon if self.kind == "sentiment" else TEXT_EMBARGO

    def places(self, start: date, end: date) -> Iterator[Place]:
        """Every place whose days all lie from ``start`` to ``end``, company by company."""
        for code in self.codes:
            series = self._series[code]
            low, high = bisect_left(series.dates, start), bisect_right(series.dates, end)
            match self.kind:
                case "prices" | "closes":
                    for number, task in enumerate(self.windows):
                        first = max(low + task.past - 1, WARM_UP)
                        yield from (Place(code, at, number) for at in range(first, high - task.future))
                case "sentiment":
                    yield from self._told(code, max(low, WARM_UP), high)
                case "concepts":
                    span = range(low + ROWS["concepts"] - 1, high)
                    yield from (Place(code, at, number) for at in span for number in range(len(TERMS)))
                case _:
                    yield from (Place(code, at) for at in range(low + ROWS[self.kind] - 1, high))

    def _told(self, code: str, low: int, high: int) -> Iterator[Place]:
        """The articles about a company whose base day and following days lie in ``low``..``high``."""
        dates = self._series[code].dates
        for number, article in enumerate(self._news(code)):
            at = bisect_right(dates, known_close(article)) - 1
            # An article of months without bars would be judged by days far from it.
            near = at >= 0 and known_close(article) - dates[at] <= timedelta(days=14)
            published = article.published_at.astimezone(_TAIPEI).date()
            if near and low <= at and at + self.horizon < high and published <= dates[high - 1]:
                yield Place(code, at, number)

    def item(self, place: Place, number: int) -> Item | None:
        """The example at a place; None where its figures cannot be told. ``number`` counts examples."""
        language = ("zh", "en")[number % 2] if self.language == "both" else self.language
        series, company = self._series[place.code], self._companies[place.code]
        at, evening = place.at, series.dates[place.at]
        match self.kind:
            case "prices":
                window = window_at(series, company, self.windows[place.which], at)
                made = training_messages(window, self.prompt)
                return Item(place.code, window.days[0], evening, window.days[-1], made)
            case "closes":
                window = window_at(series, company, self.windows[place.which], at)
                made = closes_example(window.lookback, window.future)
                return Item(place.code, window.days[0], evening, window.days[-1], made)
            case "sentiment":
                article = self._news(place.code)[place.which]
                after = aftermath(series, at, self.horizon, self._market)
                if after is None:
                    return None
                made = answers.sentiment(article, company, after, self.horizon, language)
                return Item(place.code, evening, evening, after.end, made, after.label)
        rows = series[at + 1 - ROWS[self.kind] : at + 1]
        match self.kind:
            case "market-analysis":
                made = answers.market_analysis(
                    rows, company, self._of_the_week(place.code, evening), language
                )
            case "risk":
                made = answers.risk(rows, company, language)
            case "recommendation":
                made = answers.recommendation(rows, company, language)
            case _:
                made = concept(place.which, rows, company, language)
        return Item(place.code, rows.dates[0], evening, evening, made)

    @cached_property
    def _market(self) -> dict[date, float]:
        return market_moves([self._store.bars.series(code) for code in self._store.bars.codes()])

    def _news(self, code: str) -> list[Article]:
        """Every article of a company that says something, oldest first."""
        if code not in self._articles:
            found = [a for a in self._store.news.articles(code, limit=1_000_000) if a.title.strip()]
            self._articles[code] = sorted(found, key=lambda article: (article.published_at, article.url))
        return self._articles[code]

    def _of_the_week(self, code: str, evening: date) -> list[Article]:
        """The newest titles known on an evening, as training's prompts quote them."""
        since = evening - timedelta(days=NEWS_DAYS)
        known = [
            article
            for article in self._news(code)
            if since < article.published_at.astimezone(_TAIPEI).date() <= evening
        ]
        return known[::-1][:NEWS_COUNT]


def known_close(article: Article) -> date:
    """The last day whose close was known when an article came out, market day or not."""
    at = article.published_at.astimezone(_TAIPEI)
    return at.date() if at.time() >= _CLOSE else at.date() - timedelta(days=1)


def closes_example(past: BarSeries, future: BarSeries) -> Example:
    """Past closes and the next ones, in the words of `closes.text`, as a chat."""
    asked = closes.question(past.close.tolist(), len(future))
    return Example(
        [{"role": "system", "content": CLOSES_SYSTEM}, {"role": "user", "content": asked}],
        [{"role": "assistant", "content": closes.answer(future.close.tolist()).strip()}],
    )
