"""What decides what comes out of a pretraining, besides the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out, besides the data."""

    hidden: int = 192
    layers: int = 4
    heads: int = 6
    feed_forward: int = 512
    steps: int = 2000
    batch_tokens: int = 8192
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    dropout: float = 0.1
    seed: int = 3407
    hold_out: int = 200
    #: Share of batches in the reference style, so that the model can speak it at all.
    reference_share: float = 0.05
    #: Share of windows mirrored (up becomes down): a year that rose must not teach that stocks rise
    #: much. Less than half, since over the decades they do.
    mirror_share: float = 0.35
    #: Share of windows whose market is that of another time (see `transplant`).
    transplant_share: float = 0.6
    #: Share of windows from the long histories, where there are some: a thousand stocks of one year
    #: share its market days, and a model learns those by heart; a few stocks of ten years do not.
    history_share: float = 0.3
    longest_past: int = 100
    longest_future: int = 20
