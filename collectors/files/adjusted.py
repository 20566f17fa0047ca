"""Takes in adjusted candles and the institutions' purchases beside them.

Whether a file of prices is adjusted shows on the tick grid: prices that were traded lie on it, prices
that were divided by dividends and splits do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import ImportReport, QuarantinedRow
from stockllm.data.sentences import Sentence
from stockllm.data.stores.known import Counts
from stockllm.data.validation_history import Days, JudgedHistory, judge_history
from stockllm.market.ticks import CURRENT, ETF_TABLE, tick

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.data.stores.known import Arrival
    from stockllm.data.validation import RawRows

Basis = Literal["adjusted", "traded"]

# Fewer days than a month's prove nothing: by chance a few traded prices of a damaged file are odd too.
_ENOUGH = 20

# Rows that are written in one transaction, about half a second's.
_PIECE = 100_000

# Single precision keeps 24 bits: 37.4 arrives as 37.4000015.
_NOISE = 2e-7


class TickGrid:
    """Counts the prices of a file that lie off the tick grid."""

    def __init__(self) -> None:
        self.rows = self.prices = self.off = 0

    def see(self, code: str, prices: NDArray[np.float64]) -> None:
        """Count the ``prices`` of ``code``, shape (n, 4); what is no price counts nowhere."""
        table = ETF_TABLE if code.startswith("00") else CURRENT
        self.rows += len(prices)
        with np.errstate(invalid="ignore"):
            given = prices[np.isfinite(prices) & (prices > 0) & (prices < 1e7)] * 100
        cents = np.rint(given).astype(np.int64)
        off = np.abs(given - cents) > _NOISE * np.abs(cents) + 1e-6
        self.prices += len(given)
        self.off += int((off | (cents % tick(cents, table) != 0)).sum())

    def basis(self, asked: Basis | None = None) -> tuple[Basis, Sentence]:
        """Whether the prices are adjusted, and why; ``asked`` decides where it is given."""
        share = self.off / self.prices if self.prices else 0.0
        en = f"{share:.0%} of its prices lie off the tick grid"
        zh = f"{share:.0%} 的價格不在升降單位上"
        if asked is not None:
            basis: Basis = asked
            en, zh = f"because --{asked} says so ({en})", f"依 --{asked} 指定（{zh}）"
        else:
            basis = "adjusted" if share > 0.5 and self.rows >= _ENOUGH else "traded"
            en, zh = f"because {en}", f"因為 {zh}"
        if basis == "adjusted":
            return basis, Sentence(f"taken as adjusted prices {en}", zh=f"視為還原股價，{zh}")
        return basis, Sentence(f"taken as traded prices {en}", zh=f"視為成交價，{zh}")


def take_adjusted(
    store: Store,
    source: str,
    companies: Iterable[RawRows],
    *,
    days: Days,
    tick: Callable[[int], None],
    notes: tuple[Sentence, ...] = (),
    candles: bool = True,
) -> list[ImportReport]:
    """Keep adjusted candles and flows, all or none; a report for each kind that the source has.

    They are written in pieces, so that other processes are not held up, and come into view together.
    Without ``candles`` the flows alone are taken.
    """
    bars, flows = _Tally(), _Tally()
    spoiled: set[str] = set()
    with ExitStack() as stack:
        arrivals: dict[str, Arrival] = {}

        def arrival(kind: str) -> Arrival:
            if kind not in arrivals:
                arrivals[kind] = stack.enter_context(store.arrivals.bring(kind, source, days.now))
            return arrivals[kind]

        for piece in _pieces(companies, days):
            if candles:
                arrival("adjusted")
            if any(judged.flow_rows is not None for _, judged in piece):
                arrival("flows")
            with store.transaction():
                for rows, judged in piece:
                    if any(row.reason == "lost_zeros" for row in judged.refused):
                        spoiled.add(rows.code)
                    if candles:
                        _keep_candles(store, arrivals["adjusted"], rows, judged, bars)
                    if judged.flow_rows is not None:
                        _keep_flows(store, arrivals["flows"], rows, judged, flows)
            tick(sum(len(rows) for rows, _ in piece))
        store.bars.quarantine([*bars.refused, *flows.refused])  # a row refused twice is kept once
    if spoiled:
        notes = (*notes, _lost_zeros(sorted(spoiled)))
    reports = []
    if candles:
        reports.append(bars.report(source, "adjusted", notes))
    if flows.companies:
        reports.append(flows.report(source, "flows", () if candles else notes))
    return reports


class _Tally:
    """What became of one kind's rows."""

    def __init__(self) -> None:
        self.read = self.companies = 0
        self.counts = Counts()
        self.refused: list[QuarantinedRow] = []

    def add(self, read: int, counts: Counts, refused: list[QuarantinedRow]) -> None:
        self.read += read
        self.companies += 1
        self.counts = self.counts.plus(counts)
        self.refused += refused

    def report(
        self, source: str, kind: Literal["adjusted", "flows"], notes: tuple[Sentence, ...]
    ) -> ImportReport:
        return ImportReport(
            source=source,
            kind=kind,
            read=self.read,
            accepted=self.counts.new,
            unchanged=self.counts.unchanged,
            revised=self.counts.revised,
            quarantined=len(self.refused),
            companies=self.companies,
            reasons=dict(Counter(row.reason for row in self.refused)),
            notes=notes,
        )


def _pieces(companies: Iterable[RawRows], days: Days) -> Iterator[list[tuple[RawRows, JudgedHistory]]]:
    """Companies with their judgement, some hundred thousand rows at a time, judged before the lock."""
    piece: list[tuple[RawRows, JudgedHistory]] = []
    rows = 0
    for company in companies:
        piece.append((company, judge_history(company, days)))
        rows += len(company)
        if rows >= _PIECE:
            yield piece
            piece, rows = [], 0
    if piece:
        yield piece


def _keep_candles(
    store: Store, arrival: Arrival, rows: RawRows, judged: JudgedHistory, tally: _Tally
) -> None:
    good = judged.rows
    counts = store.adjusted.keep(
        arrival, rows.code, rows.days[good], rows.prices[good], rows.volumes[good], judged.known_at
    )
    tally.add(len(rows), counts, judged.refused)


def _keep_flows(store: Store, arrival: Arrival, rows: RawRows, judged: JudgedHistory, tally: _Tally) -> None:
    assert rows.flows is not None
    assert judged.flow_rows is not None
    good = judged.flow_rows
    columns = dict(zip(store.flows.columns, rows.flows[good].T, strict=True))
    counts = store.flows.keep(arrival, rows.code, rows.days[good], columns, judged.flow_known_at)
    tally.add(len(rows), counts, judged.flows_refused)


def _lost_zeros(codes: list[str]) -> Sentence:
    shown = ", ".join(codes[:5]) + (" …" if len(codes) > 5 else "")
    return Sentence(
        f"the codes {shown} have lost their leading zeros: export the column code as text",
        zh=f"代號 {shown} 缺了開頭的零：請把 code 欄以文字匯出",
    )
