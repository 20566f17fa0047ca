"""41 companies x 5 days x 100 paths: ours against ``model.generate`` a company at a time.

Both use the embedded model on the simulated market, in turn, in one process. ``generate`` draws the
same number of tokens without any grammar, so its candles may be invalid; ours are valid. ``generate``
is timed on some of the companies and scaled to all.
"""

from __future__ import annotations

import time
from datetime import date
from typing import Any

PATHS = 100
HORIZON = 5
GENERATED = 4
END = date(2025, 12, 31)


def main() -> None:
    """Print the table."""
    import torch

    from stockllm.collectors.simulated import simulate
    from stockllm.forecaster.models import ModelRef, base_model_dir, load_model
    from stockllm.forecaster.sample import prompt_ids, sample

    loaded = load_model(ModelRef("llama", base_model_dir()))
    windows = _windows(simulate(END, 120, 1))
    ids = [torch.tensor([prompt_ids(loaded.tokenizer, window, "compact")]) for window in windows]

    def generate(prompt: torch.Tensor) -> None:
        loaded.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            top_k=0,
            num_return_sequences=PATHS,
            min_new_tokens=5 * HORIZON,
            max_new_tokens=5 * HORIZON,
            pad_token_id=loaded.tokenizer.pad_token_id,
        )

    def ours() -> None:
        sample(loaded.model, loaded.tokenizer, windows, paths=PATHS, seed=1)

    sample(loaded.model, loaded.tokenizer, windows[:1], paths=2, seed=1)
    generate(ids[0])
    theirs_first = _seconds(lambda: [generate(prompt) for prompt in ids[:GENERATED]])
    ours_took = _seconds(ours)
    theirs_second = _seconds(lambda: [generate(prompt) for prompt in ids[:GENERATED]])
    theirs = (theirs_first + theirs_second) / 2 * len(windows) / GENERATED
    tokens = len(windows) * PATHS * HORIZON * 5
    print("| | seconds | tokens a second |\n| --- | --- | --- |")
    print(f"| generate, a company at a time | {theirs:.1f} | {tokens / theirs:,.0f} |")
    print(f"| stockllm | {ours_took:.1f} | {tokens / ours_took:,.0f} |")
    print(f"\nratio {theirs / ours_took:.1f} ({torch.get_num_threads()} threads)")


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _windows(market: Any) -> list[Any]:
    """A window of each simulated company, ready to forecast."""
    import tempfile
    from pathlib import Path

    from stockllm.collectors.simulated import write
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.forecaster.windows import open_window

    with tempfile.TemporaryDirectory(prefix="stockllm-") as folder:
        home = Home(Path(folder))
        write(market, home)
        with Store.open(home) as store:
            dates = store.calendar().next_sessions(END, HORIZON)
            return [
                open_window(store.bars.series(company.code), company, 60, dates)
                for company in store.companies()
                if store.bars.span(company.code)
            ]


if __name__ == "__main__":
    main()
