"""What decides what comes out of a pretraining, besides the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out, besides the data."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    steps: int = 2000
    batch_tokens: int = 8192
    learning_rate: float = 3e-3
    #: Share of the steps, at the end, over which the rate falls to nothing. Before it falls the weights
    #: are kept as the trunk that a later training starts from.
    decay_share: float = 0.3
    weight_decay: float = 0.1
    dropout: float = 0.0
    seed: int = 3407
    hold_out: int = 200
    #: Share of batches in the reference style, so that the model can speak it at all.
    reference_share: float = 0.03
    #: Share of windows mirrored (up becomes down): years that rose must not teach that stocks rise much.
    mirror_share: float = 0.25
    #: Days ago that a window is 1/e as likely to be read as the newest.
    memory: float = 5 * 365.25
    longest_past: int = 32
    longest_future: int = 20
    #: How often a window shows the world not at all, New York's, both, or the night alone.
    shown: tuple[float, float, float, float] = (0.15, 0.25, 0.45, 0.15)
    #: Share of windows whose coming day is an evening's, whatever their past days show.
    evening_share: float = 0.5
    #: Share of windows that hide the market, and of those that hide place and width.
    market_hidden: float = 0.05
    network_hidden: float = 0.08
    #: What the tokens of open, close, upper and lower shadow and volume weigh in the loss.
    weights: tuple[float, float, float, float, float] = (1.2, 2.0, 0.6, 0.6, 0.6)
    #: Networks whose quantiles are averaged in the outlook that the model ships with.
    networks: int = 3
