"""The same small evaluation by the embedded model and by the naive baseline, to the last score."""

from __future__ import annotations

from datetime import date

from benchmarks.figures import Line, machine, show, simulated_store, spent

PATHS = 99
HORIZONS = (1, 5)
START, FINISH = date(2025, 12, 1), date(2025, 12, 31)
#: Evenings between two origins.
STRIDE = 10


def main() -> None:
    """Print the table of this benchmark alone."""
    show(lines())
    print(f"\n{machine()}")


def lines() -> list[Line]:
    """What the Llama adds to an evaluation of the baseline alone, and that one."""
    windows = run(("ewma",))
    naive = spent(lambda: run(("ewma",)))
    run(("llama",), companies=1)
    llama = spent(lambda: run(("llama", "ewma"))) - naive
    forecasts = windows * PATHS
    return [
        Line(
            f"evaluating {windows} windows x {PATHS} paths, {HORIZONS[-1]} days",
            f"llama {llama.wall:.1f} s, {forecasts / llama.wall:,.0f} paths/s",
            "the naive baseline, ewma",
            f"{naive.wall:.1f} s, {forecasts / naive.wall:,.0f} paths/s",
            naive.wall / llama.wall,
            naive.cpu / llama.cpu,
        )
    ]


def run(models: tuple[str, ...], companies: int | None = None) -> int:
    """Evaluate; the number of windows that each model forecast."""
    from stockllm.forecaster.evaluation.cases import Request
    from stockllm.forecaster.evaluation.evaluate import evaluate

    with simulated_store(200) as store:
        codes = tuple(company.code for company in store.companies()[:companies])
        # Simulated days are nobody's: whatever the model was trained on, these figures are of speed alone.
        request = Request(START, FINISH, models, codes, HORIZONS, PATHS, STRIDE, force=True)
        return len(evaluate(store, request).cases.windows)


if __name__ == "__main__":
    main()
