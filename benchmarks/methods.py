"""Every way to tune the embedded model, on one table: what it trains, how fast, in how much memory, how well.

Real prices: companies that the embedded model has never read, out of ``../shared``. Every method reads the
same windows of days up to December 2025, in a process of its own, and then forecasts January to March
2026. The embedded model has read those days of other companies; ratios are to be held against its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import machine
from benchmarks.memory import peak

if TYPE_CHECKING:
    from stockllm.data.store import Store

UNIVERSE = Path(__file__).resolve().parent.parent.parent / "shared" / "market" / "universe.parquet"
COMPANIES = 24
STEPS = 40
START, FINISH = date(2026, 1, 2), date(2026, 3, 31)
HORIZONS = (1, 5)
PATHS = 99
#: Evenings between two origins.
STRIDE = 8
NONE = "none"


def main() -> None:
    """Print the table; or measure one method and print its figures as JSON."""
    asked = _arguments()
    if asked.home is not None:
        print(json.dumps(measured(asked)))
        return
    if not UNIVERSE.is_file():
        print(f"Left out: there are no prices at {UNIVERSE}.")
        return
    before = machine()
    with tempfile.TemporaryDirectory(prefix="stockllm-") as folder:
        fill(Path(folder))
        print(HEADER)
        for method in asked.methods or names():
            command = [sys.executable, "-m", "benchmarks.methods", method, "--home", folder]
            for flag in ("steps", "rate", "base", "companies"):
                if (value := getattr(asked, flag)) is not None:
                    command += [f"--{flag}", str(value)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            print(line(json.loads(done.stdout.splitlines()[-1])), flush=True)
    print(f"\nbefore: {before}\nafter: {machine()}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("methods", nargs="*", help="default: all that this machine trains")
    parser.add_argument("--steps", type=int, default=STEPS, help="32 windows each")
    parser.add_argument("--rate", type=float, help="learning rate; default: the method's own")
    parser.add_argument("--base", help="folder of a base model; default: the embedded one")
    parser.add_argument("--companies", type=int, default=COMPANIES)
    parser.add_argument("--home", help="measure here, in this process")
    # Under `python -m benchmarks methods` the words on the line are names of benchmarks.
    return parser.parse_args(None if Path(sys.argv[0]).stem == "methods" else [])


def names() -> list[str]:
    """The base model alone, then every method that this machine can train."""
    import torch

    from stockllm.forecaster.models.methods import DEFAULTS

    return [NONE, *(name for name in DEFAULTS if name != "qlora" or torch.cuda.is_available())]


HEADER = (
    "| method | trainable parameters | learning rate | windows/s | windows a CPU second | peak memory | "
    "validation loss | CRPS ratio, 1 day | 5 days |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def line(found: dict[str, Any]) -> str:
    """One method's row; the losses are before and after."""
    ratios = " | ".join(f"{found['ratios'][str(horizon)]:.4f}" for horizon in HORIZONS)
    if found["method"] == NONE:
        return f"| not tuned | | | | | | | {ratios} |"
    return (
        f"| {found['method']} | {found['trainable']:,} | {found['rate']:g} | {found['windows_s']:.1f} | "
        f"{found['windows_cpu_s']:.1f} | {found['peak'] / 2**20:,.0f} MiB | "
        f"{found['before']:.4f} -> {found['after']:.4f} | {ratios} |"
    )


def fill(home: Path) -> None:
    """A home with the real prices of companies that were held out of the base model's training."""
    import pandas as pd

    from stockllm.collectors.imports import import_path
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    table = pd.read_parquet(UNIVERSE)
    file = home / "held-out.parquet"
    table[table["code"].isin(held_out())].to_parquet(file)
    with Store.open(Home(home / "home")) as store:
        import_path(store, file)


def held_out() -> list[str]:
    """The codes that the embedded model's training left out."""
    from stockllm.forecaster.models.registry import EMBEDDED, ModelRef, base_model_dir
    from stockllm.forecaster.sampling.cutoffs import held_out

    return list(held_out(ModelRef(EMBEDDED, base_model_dir())))


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Train by one method and evaluate; speed and memory are of the training alone."""
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.forecaster.models.cards import read_card
    from stockllm.forecaster.training.train import TrainOptions, train

    (method,) = asked.methods
    base = asked.base or "llama"
    with Store.open(Home(Path(asked.home) / "home")) as store:
        codes = _fullest(store, asked.companies)
        if method == NONE:
            return {"method": NONE, "ratios": _ratios(store, codes, base)}
        options = TrainOptions(
            codes=codes,
            model_name=base,
            method=method,
            name=f"{method}-{time.time_ns()}",
            engine="peft",
            max_steps=asked.steps,
            validation_from=START,
            learning_rate=asked.rate,
            report_to="none",
            save_steps=10**6,
        )
        began = time.process_time()
        info = train(store, options)
        cpu = time.process_time() - began
        most = peak()
        card = read_card(info.path)
        windows = card.speed["windows_per_second"] * card.speed["seconds"]
        return {
            "method": method,
            "trainable": card.trainable,
            "rate": options.learning_rate,
            "windows_s": card.speed["windows_per_second"],
            # With loading and two validations, which are alike for all.
            "windows_cpu_s": windows / cpu,
            "peak": most,
            "before": card.losses["validation_loss_before"],
            "after": card.losses["validation_loss_after"],
            "ratios": _ratios(store, codes, f"{base}+{info.name}"),
        }


def _fullest(store: Store, count: int) -> tuple[str, ...]:
    """The companies that traded on the most days, the lower code first."""
    days = {code: len(store.bars.series(code)) for code in store.bars.codes()}
    return tuple(sorted(days, key=lambda code: (-days[code], code))[:count])


def _ratios(store: Store, codes: tuple[str, ...], model: str) -> dict[str, float]:
    from stockllm.forecaster.evaluation.cases import Request
    from stockllm.forecaster.evaluation.evaluate import evaluate, summary

    # Forced: these days the base has read, of other companies.
    request = Request(START, FINISH, (model,), codes, HORIZONS, PATHS, STRIDE, force=True)
    found = evaluate(store, request)
    (name,) = (name for name in found.scores if name != "ewma")
    return {str(horizon): summary(found, name, horizon)["crps_ratio"] for horizon in HORIZONS}


if __name__ == "__main__":
    main()
