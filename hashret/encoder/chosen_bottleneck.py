"""What the data decide where the user does not: the bottleneck, and the weight of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashret.encoder.neighbours import NeighbourGraph

WIDE_NEIGHBOURHOOD = 0.15


def choose_bottleneck(graph: NeighbourGraph | None) -> str:
    """Choose how bits are made in training, by how far neighbours are.

    Where an item's neighbours differ from it little, as among images of things, every bit can be
    told from the item, and straight-through bits learn most. Where they differ much, as among
    texts, what an item does not share with its neighbours is noise, and Bernoulli bits, whose
    chance a code must withstand, keep it out. Spreads of 15 neighbours that were measured: clothes
    .07 to .11; texts and their embeddings .18 to .30; few rows have wide neighbourhoods too, .22
    for scikit-learn's digits.

    Args:
        graph: mutual neighbours among the rows; None where the neighbours have no weight.

    Returns:
        A name that ``SemanticHasher`` takes as ``bottleneck``.
    """
    wide = graph is not None and graph.spread > WIDE_NEIGHBOURHOOD
    return "bernoulli" if wide else "straight-through"


MULTINOMIAL_WEIGHT = 2.5
"""The error of counts is that of an item, several nats, not of one feature of variance 1."""


def default_reconstruction_weight(n_bits: int, bottleneck: str, loss: str) -> float:
    """The weight beside a neighbour weight of 0.2 that suited each loss and bottleneck.

    Straight-through bits need much to keep items of one class apart, and the more bits there are
    the more they can keep: 12 at 16 bits, 25 at 32 and above.
    """
    if loss == "multinomial":
        return MULTINOMIAL_WEIGHT
    if bottleneck != "straight-through":
        return 10.0
    return min(max(0.78 * n_bits, 10.0), 25.0)
