"""41 companies x 5 days x 100 paths: ours against ``model.generate`` a company at a time.

Both use the embedded model on the simulated market, in turn, in one process. ``generate`` draws the
same number of tokens without any grammar, so its candles may be invalid; ours are valid. ``generate``
is timed on some of the companies and scaled to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.figures import END, Line, machine, show, simulated_store, spent

PATHS = 100
HORIZON = 5
GENERATED = 2


def main() -> None:
    """Print the table of this benchmark alone."""
    show(lines())
    print(f"\n{machine()}")


def lines() -> list[Line]:
    """The comparison, ``generate`` timed before and after ours."""
    ours, generate, windows = prepared()
    ours(1)
    generate(1)
    before = spent(lambda: generate(GENERATED))
    took = spent(lambda: ours(windows))
    theirs = (before + spent(lambda: generate(GENERATED))) * (windows / GENERATED / 2)
    tokens = windows * PATHS * HORIZON * 5
    return [
        Line(
            f"sampling {windows} companies x {HORIZON} days x {PATHS} paths",
            f"{took.wall:.1f} s, {tokens / took.wall:,.0f} tokens/s",
            "`generate`, a company at a time",
            f"{theirs.wall:.1f} s, {tokens / theirs.wall:,.0f} tokens/s",
            theirs.wall / took.wall,
            theirs.cpu / took.cpu,
        )
    ]


def prepared() -> tuple[Callable[[int], object], Callable[[int], object], int]:
    """Both ways, each to be called with a number of companies, and how many companies there are."""
    import torch

    from stockllm.forecaster.models.registry import ModelRef, base_model_dir, load_model
    from stockllm.forecaster.sampling.sample import prompt_ids, sample

    loaded = load_model(ModelRef("llama", base_model_dir()))
    windows = _windows()
    prompts = [torch.tensor([prompt_ids(loaded.tokenizer, window, "compact")]) for window in windows]

    def generate(companies: int) -> None:
        for prompt in prompts[:companies]:
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

    def ours(companies: int) -> object:
        return sample(loaded.model, loaded.tokenizer, windows[:companies], paths=PATHS, seed=1)

    return ours, generate, len(windows)


def _windows() -> list[Any]:
    """A window of each simulated company, ready to forecast."""
    from stockllm.forecaster.encoding.windows import open_window

    with simulated_store(120) as store:
        dates = store.calendar().next_sessions(END, HORIZON)
        return [
            open_window(store.bars.series(company.code), company, 60, dates)
            for company in store.companies()
            if store.bars.span(company.code)
        ]


if __name__ == "__main__":
    main()
