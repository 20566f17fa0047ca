"""An evaluation on paper: a table in Markdown, reliability and PIT plots, and the document itself."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stockllm.data.errors import StockllmError
from stockllm.forecaster.evaluation import metrics
from stockllm.forecaster.evaluation.evaluate import Evaluation, best_baseline, document

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of the tables: heading, key of the figure, how it is written.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("CRPS", "crps", ".5f"),
    ("ratio", "crps_ratio", ".3f"),
    ("DM p", "dm_p", ".3f"),
    ("pinball", "pinball", ".5f"),
    ("50%", "coverage50", ".3f"),
    ("80%", "coverage80", ".3f"),
    ("95%", "coverage95", ".3f"),
    ("width 80%", "width80", ".4f"),
    ("MSE", "mse", ".4g"),
    ("RMSE", "rmse", ".4g"),
    ("NRMSE", "nrmse", ".3f"),
    ("MASE", "mase", ".3f"),
    ("direction", "direction", ".3f"),
    ("95% interval", "direction_ci", ".3f"),
    ("rank IC", "rank_ic", "+.3f"),
    ("n", "n", ",d"),
    ("dates", "dates", ",d"),
    ("failures", "parse_failures", ",d"),
)
REPORT, FIGURES, RELIABILITY, PIT = "report.md", "evaluation.json", "reliability.png", "pit.png"
PIT_BINS = 10


def cell(value: Any, form: str) -> str:
    """One figure as text; an en dash where it is undefined."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return " – ".join(format(each, form) for each in value)
    return format(value, form)


def markdown(evaluation: Evaluation) -> str:
    """The report: what was measured, a table per horizon, and how to read it."""
    facts = document(evaluation)
    request = evaluation.request
    lines = ["# Evaluation", ""]
    if evaluation.simulated:
        lines += ["**SIMULATED 模擬資料**: generated prices, which say nothing about a real market.", ""]
    lines += [
        f"Forecasts of {request.start} to {request.end}, made on {facts['origins']} evenings from "
        f"{facts['first_origin']} to {facts['last_origin']} for {len(facts['codes'])} companies; "
        f"{request.paths} paths, seed {request.seed}, {request.prompt} prompt, every "
        f"{_ordinal(request.stride)}evening.",
        "",
    ]
    seen = [name for name, flag in evaluation.seen.items() if flag]
    unknown = [name for name, flag in evaluation.seen.items() if flag is None]
    if seen:
        lines += [f"**Not a test** of {', '.join(seen)}: trained on days of this period.", ""]
    if unknown:
        lines += [
            f"Nothing says until when {', '.join(unknown)} was trained: it may have seen the period.",
            "",
        ]
    for horizon in request.horizons:
        best = best_baseline(evaluation, horizon)
        days = "1 day" if horizon == 1 else f"{horizon} days"
        lines += [f"## {days}: the best baseline is {best}", ""]
        lines.append("| model | " + " | ".join(heading for heading, _, _ in COLUMNS) + " |")
        lines.append("| --- |" + " ---: |" * len(COLUMNS))
        for name in evaluation.scores:
            figures = facts["models"][name][str(horizon)]
            mark = " (seen)" if figures["seen"] else ""
            row = " | ".join(cell(figures[key], form) for _, key, form in COLUMNS)
            lines.append(f"| {name}{mark} | {row} |")
        lines.append("")
    lines += [f"![Reliability]({RELIABILITY})", "", f"![PIT]({PIT})", "", *_LEGEND]
    lines += [f"- left out: {reason}" for reason in evaluation.cases.left_out]
    return "\n".join(lines) + "\n"


_LEGEND = (
    "- CRPS: of log returns since the origin's close, in the fair form; ratio: to ewma's.",
    "- DM p: Diebold-Mariano against the best baseline on the means of each date; – where the dates are",
    "  too few to tell. A difference counts with p below 0.05 alone.",
    "- 50%, 80%, 95%: share of days that ended inside that central interval.",
    "- MSE, RMSE in TWD; NRMSE over each company's range; MASE over its mean daily move. Point: the median.",
    "- direction: share of right calls, its interval as if calls were independent, which they are not.",
    "- failures: paths with a candle that cannot trade; they are scored like all others.",
)


def _ordinal(stride: int) -> str:
    return "" if stride == 1 else f"{stride}th "


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the report's files; each appears whole or not at all.

    :raises StockllmError: where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            _put(
                folder / FIGURES, lambda path: _text(path, json.dumps(document(evaluation), indent=1) + "\n")
            ),
            _put(folder / RELIABILITY, lambda path: _draw(_reliability, evaluation, path)),
            _put(folder / PIT, lambda path: _draw(_pit, evaluation, path)),
            _put(folder / REPORT, lambda path: _text(path, markdown(evaluation))),
        ]
    except OSError as error:
        raise StockllmError(
            f"The report cannot be written to {folder} ({error.strerror}): name another folder.",
            zh=f"報告無法寫入 {folder}（{error.strerror}）：請指定其他資料夾。",
        ) from error


def _text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def _put(target: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a file beside the target, then move it into place."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    part = Path(name)
    try:
        fill(part)
        part.chmod(0o644)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


def _draw(plot: Callable[[Evaluation, Figure], None], evaluation: Evaluation, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    plot(evaluation, figure)
    if evaluation.simulated:
        figure.suptitle("SIMULATED")
    figure.savefig(path, dpi=110)


def _reliability(evaluation: Evaluation, figure: Figure) -> None:
    """Share of days below each nominal quantile, one panel a horizon; the diagonal is calibration."""
    horizons = evaluation.request.horizons
    figure.set_size_inches(4.2 * len(horizons), 4.2)
    levels = np.linspace(0.01, 0.99, 99)
    for k, horizon in enumerate(horizons):
        axes = figure.add_subplot(1, len(horizons), k + 1)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for name, scores in evaluation.scores.items():
            ranks = scores[horizon].pit
            axes.plot(levels, (ranks[None, :] <= levels[:, None]).mean(axis=1), label=name, linewidth=1.2)
        axes.set(title=f"{horizon} d", xlabel="nominal", ylabel="observed", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
    axes.legend(fontsize=7)


def _pit(evaluation: Evaluation, figure: Figure) -> None:
    """Histogram of PIT ranks, a row a model and a column a horizon; flat is calibration."""
    horizons, names = evaluation.request.horizons, list(evaluation.scores)
    figure.set_size_inches(3.0 * len(horizons), 1.5 * len(names) + 0.5)
    edges = np.linspace(0, 1, PIT_BINS + 1)
    for i, name in enumerate(names):
        for k, horizon in enumerate(horizons):
            axes = figure.add_subplot(len(names), len(horizons), i * len(horizons) + k + 1)
            ranks = evaluation.scores[name][horizon].pit
            between = metrics.wilson(round(len(ranks) / PIT_BINS), len(ranks))
            if between is not None:
                axes.axhspan(between[0] * PIT_BINS, between[1] * PIT_BINS, color="0.9")
            axes.hist(ranks, bins=edges.tolist(), density=True, color="0.4")
            axes.axhline(1, color="0.6", linewidth=0.8)
            axes.set_yticks([])
            axes.tick_params(labelsize=6)
            if k == 0:
                axes.set_ylabel(name, fontsize=7)
            if i == 0:
                axes.set_title(f"{horizon} d", fontsize=8)
