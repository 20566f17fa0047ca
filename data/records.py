"""The records that move along the main line. Frozen; prices are integer hundredths of a TWD.

Inside stockllm the words are ``volume`` (shares traded), ``value`` (TWD traded) and ``trades``
(number of trades). The reference's ``capacity``, ``turnover`` and ``transaction`` exist only in
the code that reads or writes its files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.sentences import Sentence
from stockllm.market.fees import ROUND_TRIP_COST
from stockllm.market.moments import TAIPEI, Moment
from stockllm.market.ticks import round_to_tick

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A price in hundredths of a TWD: 1075.0 TWD is 107500.
Cents = int

#: What is odd about a bar that is kept all the same.
BarFlag = Literal["past_limit", "off_tick", "repaired"]

PromptStyle = Literal["compact", "reference"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One observed trading day of one company.

    ``reference`` is the exchange's reference price of the day (the ex-rights base on an ex-date);
    None means the previous close. ``value`` and ``trades`` are None where the source is silent.
    """

    code: str
    date: date
    open: Cents
    high: Cents
    low: Cents
    close: Cents
    volume: int
    source: str
    value: int | None = None
    trades: int | None = None
    reference: Cents | None = None
    flags: tuple[BarFlag, ...] = ()


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row that did not become a bar: where it came from, why, and the row itself as text."""

    source: str
    line: int
    code: str
    date: date | None
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of every row of an import. ``accepted + unchanged + revised + quarantined == read``.

    ``repaired`` and ``flagged`` count rows that are also in ``accepted`` or ``unchanged``. ``revised``
    rows replace an earlier version, which is kept. ``notes`` say
    what the counts cannot: how a file was understood, what it lacks.
    """

    source: str
    kind: Literal["prices", "companies", "news", "adjusted", "flows", "world", "futures"]
    read: int = 0
    accepted: int = 0
    unchanged: int = 0
    repaired: int = 0
    flagged: int = 0
    quarantined: int = 0
    companies: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    revised: int = 0
    notes: tuple[Sentence, ...] = ()


@dataclass(frozen=True, slots=True)
class Article:
    """One news article, once, however many companies it was found for."""

    url: str
    title: str
    source: str
    published_at: datetime
    language: Literal["zh", "en"]
    description: str = ""
    content: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class BarSeries:
    """A company's bars as columns, oldest first; what the forecaster works on.

    Arrays have shape (n,). Prices are float TWD; ``reference`` is the price the day's moves are
    measured from (the stored reference, else the previous close, else the day's open where the
    move was past the daily limit or the day is the first one). ``value`` and ``trades`` hold NaN on
    days whose source was silent, and are None where no day has them.
    """

    code: str
    dates: tuple[date, ...]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    reference: NDArray[np.float64]
    value: NDArray[np.float64] | None = None
    trades: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.dates)

    def until(self, day: date) -> BarSeries:
        """The part up to and including ``day``: all that was known that evening."""
        from bisect import bisect_right

        return self[: bisect_right(self.dates, day)]

    def __getitem__(self, part: slice) -> BarSeries:
        columns: list[Any] = [c if c is None else c[part] for c in self._columns()]
        return BarSeries(self.code, self.dates[part], *columns)

    def then(self, later: BarSeries) -> BarSeries:
        """This series continued by ``later``, which must start after it ends."""
        import numpy as np

        if len(self) and len(later) and later.dates[0] <= self.dates[-1]:
            raise ValueError(f"{later.dates[0]} does not come after {self.dates[-1]}")
        columns = zip(self._columns(), later._columns(), strict=True)
        joined: list[Any] = [None if a is None or b is None else np.concatenate([a, b]) for a, b in columns]
        return BarSeries(self.code, self.dates + later.dates, *joined)

    def _columns(self) -> tuple[Any, ...]:
        prices = (self.open, self.high, self.low, self.close)
        return (*prices, self.volume, self.reference, self.value, self.trades)


@dataclass(frozen=True, slots=True)
class Candle:
    """One forecast day. Valid by construction: low <= open, close <= high, on its tick."""

    date: date
    open: Cents
    high: Cents
    low: Cents
    close: Cents
    volume: int


#: The quantile levels of every band, in order, with the names used in documents.
BAND_LEVELS: dict[str, float] = {
    "q05": 0.05,
    "q10": 0.10,
    "q25": 0.25,
    "q50": 0.50,
    "q75": 0.75,
    "q90": 0.90,
    "q95": 0.95,
}


@dataclass(frozen=True, slots=True)
class PathForecast:
    """All sampled futures of one company, and what made them.

    ``prices`` has shape (paths, horizon, 4) in hundredths of a TWD, the last axis open, high, low,
    close; ``volumes`` has shape (paths, horizon) in shares. ``dates`` are the sessions forecast,
    ``as_of`` the last observed one. ``adapter`` is None for a base model alone; ``model_hash`` and
    ``adapter_hash`` are SHA-256 over the weights. ``moment`` says when it was made, ``known_until``
    (aware) until when it knew anything; None for the forecasts from before that was kept.
    """

    code: str
    name: str
    market: str
    as_of: date
    last_close: Cents
    dates: tuple[date, ...]
    prices: NDArray[np.int32]
    volumes: NDArray[np.int64]
    made_at: datetime
    model: str
    model_hash: str
    adapter: str | None
    adapter_hash: str | None
    prompt: PromptStyle
    seed: int
    simulated: bool
    parse_failures: int = 0
    moment: Moment = "evening"
    known_until: datetime | None = None

    @property
    def paths(self) -> int:
        return int(self.prices.shape[0])

    @property
    def horizon(self) -> int:
        return int(self.prices.shape[1])

    @property
    def model_name(self) -> str:
        """The model as a user names it: ``llama``, ``llama+ADAPTER``."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"

    def medoid(self) -> int:
        """Index of the path whose closes lie nearest to all others (mean absolute log distance).

        One real path, never an average: the mean of candles is not a candle.
        """
        import numpy as np

        closes = np.log(self.prices[:, :, 3].astype(np.float64))
        distance = np.abs(closes[:, None, :] - closes[None, :, :]).mean(axis=(1, 2))
        return int(np.argmin(distance))

    def candles(self) -> tuple[Candle, ...]:
        """The medoid path as candles."""
        index = self.medoid()
        return tuple(
            Candle(day, opened, high, low, close, volume)
            for day, (opened, high, low, close), volume in zip(
                self.dates, self.prices[index].tolist(), self.volumes[index].tolist(), strict=True
            )
        )

    def quantiles(self, column: Literal["open", "high", "low", "close"]) -> NDArray[np.float64]:
        """Quantiles of one price over the paths, shape (levels, horizon), hundredths of a TWD.

        Order statistics at k = level x (paths + 1): with 99 paths every level of the bands is
        exactly one path's price.
        """
        import numpy as np

        index = ("open", "high", "low", "close").index(column)
        return np.quantile(
            self.prices[:, :, index].astype(np.float64), list(BAND_LEVELS.values()), axis=0, method="weibull"
        )

    def chance(self, above: float = 0.0) -> float:
        """The share of paths whose last close lies more than ``above`` (0.01 is 1%) over the last close."""
        return float((self.prices[:, -1, 3] > self.last_close * (1 + above)).mean())

    def document(self) -> dict[str, Any]:
        """The forecast document, as ``--json`` prints it; prices in TWD on their tick, volume in shares."""

        def band(column: Literal["high", "low", "close"]) -> list[dict[str, Any]]:
            table = self.quantiles(column)
            return [
                {"date": day.isoformat()}
                | {name: round_to_tick(round(float(table[k, i]))) / 100 for k, name in enumerate(BAND_LEVELS)}
                for i, day in enumerate(self.dates)
            ]

        return {
            "code": self.code,
            "name": self.name,
            "market": self.market,
            "as_of": self.as_of.isoformat(),
            "last_close": self.last_close / 100,
            "made_at": self.made_at.isoformat(),
            "moment": self.moment,
            "known_until": self.known_until.astimezone(TAIPEI).isoformat() if self.known_until else None,
            "model": self.model,
            "model_hash": self.model_hash,
            "adapter": self.adapter,
            "adapter_hash": self.adapter_hash,
            "prompt": self.prompt,
            "seed": self.seed,
            "paths": self.paths,
            "horizon": self.horizon,
            "chance_of_rise": self.chance(),
            "chance_of_gain_past_costs": self.chance(ROUND_TRIP_COST),
            "round_trip_cost": ROUND_TRIP_COST,
            "volume_unit": "shares",
            "simulated": self.simulated,
            "parse_failures": self.parse_failures,
            "candles": [
                {
                    "date": c.date.isoformat(),
                    "open": c.open / 100,
                    "high": c.high / 100,
                    "low": c.low / 100,
                    "close": c.close / 100,
                    "volume": c.volume,
                }
                for c in self.candles()
            ],
            "bands": {"close": band("close"), "low": band("low"), "high": band("high")},
        }


Action = Literal["buy", "sell", "hold"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One rule's verdict on one company on one day, with its reason in both languages.

    ``rule`` is "mean", "four-points" or "edge". ``strength`` is the rule's own figure (a ratio or
    a probability), None where the rule has none. ``forecast_id`` names the ledger entry used.
    """

    code: str
    as_of: date
    rule: Literal["mean", "four-points", "edge"]
    action: Action
    reason_zh: str
    reason_en: str
    strength: float | None = None
    forecast_id: int | None = None
    simulated: bool = False
