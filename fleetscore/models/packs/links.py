"""From the decision values of a model to what its methods answer: labels, probabilities, votes."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fleetscore.kernels.compiled import compiled
from fleetscore.models.packs.base import Floats, Indices


class Link(IntEnum):
    """How a model's methods follow from its decision values; stored in packs, so numbers never change."""

    IDENTITY = 0  # a regression: the values are the answer
    EXP = 1  # a generalised linear model with logarithmic link
    PLAIN = 2  # a classifier without probabilities
    SIGMOID = 3  # two classes: 1 / (1 + exp(-d)); more: the same for each class, divided by their sum
    SOFTMAX = 4
    HUBER = 5  # modified Huber loss: (clip(d, -1, 1) + 1) / 2, divided by the sum for more than two classes
    INLIER_OR_ON = 6  # one class: an inlier where d >= 0
    INLIER = 7  # one class: an inlier where d > 0
    VOTES = 8  # one decision for each pair of classes; decision_function gives a value for each class
    PAIRS = 9  # the same, and decision_function gives the pairs
    VOTES_TIES = 10  # as VOTES, and the label is the class of the largest value


PREDICT, PROBABILITIES, DECISIONS, SAMPLES = range(4)
METHOD_CODES = {
    "predict": PREDICT,
    "predict_proba": PROBABILITIES,
    "decision_function": DECISIONS,
    "score_samples": SAMPLES,
}


def is_plain(links: NDArray[np.int32], method: str) -> bool:
    """Whether the method's answers are the decision values themselves, so that they can be computed in
    place.
    """
    if method == "predict":
        return bool((links == Link.IDENTITY).all())
    return method == "decision_function" and bool(((links != Link.VOTES) & (links != Link.VOTES_TIES)).all())


def answers(
    offsets: Indices,
    counts: NDArray[np.int32],
    links: NDArray[np.int32],
    shifts: Floats,
    decisions: Floats,
    method: str,
    out: Floats,
) -> None:
    """Fill `out` [rows, outputs] from `decisions` [rows, largest of counts].

    Model i has counts[i] decision values, the link links[i], and shifts[i] that score_samples adds. `out`
    may be `decisions` where `is_plain`.
    """
    _answers(offsets, counts, links, shifts, decisions, METHOD_CODES[method], out)


def classes_of(count: int, link: int) -> int:
    """The number of classes of a classifier with `count` decision values.

    >>> classes_of(1, Link.SIGMOID), classes_of(3, Link.SOFTMAX), classes_of(6, Link.VOTES)
    (2, 3, 4)
    """
    if link in (Link.VOTES, Link.PAIRS, Link.VOTES_TIES):
        return int((1 + (1 + 8 * count) ** 0.5) / 2)
    return 2 if count == 1 else count


@compiled()
def _answers(offsets, counts, links, shifts, decisions, method, out):  # type: ignore[no-untyped-def]  # compiled
    for model in range(len(counts)):
        count, link = counts[model], links[model]
        for row in range(offsets[model], offsets[model + 1]):
            found = decisions[row]
            if method == SAMPLES:
                out[row, 0] = found[0] + shifts[model]
            elif method == PROBABILITIES:
                _probabilities(found, count, link, out[row])
            elif link >= VOTES_FIRST:
                _by_votes(found, count, link, method, out[row])
            elif method == DECISIONS or link == 0:
                for at in range(count):
                    out[row, at] = found[at]
            elif link == 1:
                for at in range(count):
                    out[row, at] = np.exp(found[at])
            elif link == 6:
                out[row, 0] = 1.0 if found[0] >= 0.0 else 0.0
            elif count == 1:
                out[row, 0] = 1.0 if found[0] > 0.0 else 0.0
            else:
                out[row, 0] = _largest(found, count)


VOTES_FIRST = int(Link.VOTES)


@compiled()
def _largest(values, count):  # type: ignore[no-untyped-def]
    best = 0
    for at in range(1, count):
        if values[at] > values[best]:
            best = at
    return best


@compiled()
def _sigmoid(value):  # type: ignore[no-untyped-def]
    if value >= 0.0:
        return 1.0 / (1.0 + np.exp(-value))
    small = np.exp(value)
    return small / (1.0 + small)


@compiled()
def _probabilities(found, count, link, out):  # type: ignore[no-untyped-def]
    if count == 1:
        high = _sigmoid(found[0]) if link != 5 else (min(max(found[0], -1.0), 1.0) + 1.0) / 2.0
        out[0], out[1] = 1.0 - high, high
        return
    total, top = 0.0, found[_largest(found, count)]
    for at in range(count):
        if link == 4:
            part = np.exp(found[at] - top)
        elif link == 5:
            part = (min(max(found[at], -1.0), 1.0) + 1.0) / 2.0
        else:
            part = _sigmoid(found[at])
        out[at] = part
        total += part
    for at in range(count):
        out[at] = out[at] / total if total > 0.0 else 1.0 / count


@compiled()
def _by_votes(found, count, link, method, out):  # type: ignore[no-untyped-def]
    """As libsvm votes, and as scikit-learn makes values of the votes; found[pair] > 0 speaks for the pair's
    first class.
    """
    if method == DECISIONS and link == 9:
        for at in range(count):
            out[at] = found[at]
        return
    classes = int((1.0 + np.sqrt(1.0 + 8.0 * count)) / 2.0)
    votes, sums = np.zeros(classes), np.zeros(classes)
    pair = 0
    for first in range(classes):
        for second in range(first + 1, classes):
            value = found[pair]
            pair += 1
            sums[first] += value
            sums[second] -= value
            if method == DECISIONS or link == 10:
                votes[second if value < 0.0 else first] += 1.0
            else:
                votes[first if value > 0.0 else second] += 1.0
    if method == DECISIONS or link == 10:
        for at in range(classes):
            votes[at] += sums[at] / (3.0 * (abs(sums[at]) + 1.0))
    if method == DECISIONS:
        for at in range(classes):
            out[at] = votes[at]
    else:
        out[0] = _largest(votes, classes)
