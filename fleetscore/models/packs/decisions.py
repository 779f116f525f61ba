"""What packs have in common that compute decision values first: linear models and kernel machines."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.kernels.compiled import compiled
from fleetscore.models.packs import container, links
from fleetscore.models.packs.base import Floats, Indices, Pack


class DecisionPack(Pack):
    """A pack whose array `spec` begins with each model's number of decision values and its Link.

    `fill` (empty, or one value per feature) replaces NaN; `shift` (empty, or one value) is what
    score_samples adds.
    """

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """The number of decision values of each model."""
        return _first_of(self.arrays["spec"], self.bounds["spec"], 0).astype(np.int32)

    @cached_property
    def model_links(self) -> NDArray[np.int32]:
        """The Link of each model."""
        return _first_of(self.arrays["spec"], self.bounds["spec"], 1).astype(np.int32)

    @cached_property
    def shifts(self) -> Floats:
        """What score_samples adds to each model's decision values."""
        return _first_of(self.arrays["shift"], self.bounds["shift"], 0).astype(np.float64)

    @cached_property
    def widths(self) -> Indices:
        """The number of features of each model."""
        by_facts = np.array([facts.n_features for facts in self.facts] or [0], np.int64)
        return by_facts[self.facts_of]

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """Which models have arrays of the sizes that their features and decision values need."""
        ok = (self.sizes("spec") >= 2) & (self.counts >= 1) & (self.model_links >= 0)
        ok &= self.model_links <= max(links.Link)
        ok &= np.isin(self.sizes("shift"), (0, 1))
        ok &= (self.sizes("fill") == 0) | (self.sizes("fill") == self.widths)
        return ok & self._answers_fit() & self.sizes_fit()

    @abstractmethod
    def sizes_fit(self) -> NDArray[np.bool_]:
        """Which models' family arrays have the sizes that they need."""

    @abstractmethod
    def decide(self, offsets: Indices, x: Floats, decisions: Floats) -> None:
        """Fill `decisions` [rows, decision values]; see `Pack.score` for the rows."""

    def sizes(self, name: str) -> Indices:
        """The number of values of each model in one array."""
        return np.diff(self.bounds[name])

    def check_model(self, at: int) -> None:
        """ModelError `corrupt_model` when the arrays of the model do not fit each other."""
        if not self.fits[at]:
            raise container.corrupt(f"the arrays of model {at} do not fit each other")

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        """Decide, refuse what the library refuses, and answer by the models' links."""
        in_place = links.is_plain(self.model_links, method)
        decisions = out if in_place else np.empty((len(x), int(self.counts.max(initial=1))))
        self.decide(offsets, x, decisions)
        if not in_place:
            links.answers(offsets, self.counts, self.model_links, self.shifts, decisions, method, out)

    def refuse_bad_rows(self, offsets: Indices, x: Floats) -> None:
        """InputError that names the first row and feature with a value that its model refuses."""
        filled = self.sizes("fill") > 0
        row, feature = first_bad_value(offsets, self.widths, filled, x)
        if row >= 0:
            model = int(np.searchsorted(offsets, row, side="right")) - 1
            names = self.facts_of_model(model).feature_names
            name = names[feature] if feature < len(names) else str(feature)
            raise InputError(
                f"Row {row} has the value {x[row, feature]} in feature {name!r}, which its model refuses.",
                fix="Drop or fill such rows.",
                field=name,
            )

    def margins(self, x: Floats) -> Floats:
        """How far each row's decision of one model is from another label, relative to the terms of the
        decision, [rows].
        """
        decisions = np.empty((len(x), int(self.counts[0])))
        self.decide(np.array([0, len(x)], np.int64), x, decisions)
        if decisions.shape[1] == 1:
            apart = np.abs(decisions[:, 0])
        elif self.model_links[0] >= links.Link.VOTES:
            apart = np.abs(decisions).min(axis=1)
        else:
            best = np.sort(decisions, axis=1)
            apart = best[:, -1] - best[:, -2]
        found: Floats = apart / self.magnitudes(x, "decision_function")[:, 0]
        return found

    @abstractmethod
    def magnitudes(self, x: Floats, method: str) -> Floats:
        """The size of the terms that one model's answers are sums of, [rows, 1]."""

    def _answers_fit(self) -> NDArray[np.bool_]:
        """Which models have facts with as many columns for each method as their link gives."""
        kinds = np.stack([self.facts_of, self.counts, self.model_links], axis=1)
        unique, kind_of = np.unique(kinds, axis=0, return_inverse=True)
        fit = [
            all(
                method in links.METHOD_CODES and width == answer_width(method, count, link)
                for method, width in self.facts[at].outputs.items()
            )
            for at, count, link in unique.tolist()
        ]
        return np.array(fit, np.bool_)[kind_of.reshape(-1)]


def answer_width(method: str, count: int, link: int) -> int:
    """The columns that a method gives for `count` decision values.

    >>> answer_width("predict_proba", 1, links.Link.SIGMOID), answer_width("decision_function", 3, links.Link.VOTES)
    (2, 3)
    """
    if method == "predict":
        return count if link in (links.Link.IDENTITY, links.Link.EXP) else 1
    if method == "predict_proba":
        return links.classes_of(count, link)
    if method == "decision_function" and link in (links.Link.VOTES, links.Link.VOTES_TIES):
        return links.classes_of(count, link)
    return 1 if method == "score_samples" else count


def _first_of(values: NDArray[Any], bounds: Indices, place: int) -> NDArray[Any]:
    """values[bounds[i] + place] of each model, or 0 where the model's part is shorter."""
    there = np.diff(bounds) > place
    found = np.zeros(len(there), values.dtype)
    found[there] = values[bounds[:-1][there] + place]
    return found


@compiled()
def first_bad_value(offsets, widths, filled, x):  # type: ignore[no-untyped-def]  # compiled
    """Row and feature of the first value that is infinite, or NaN where no fill replaces it; (-1, -1) where
    there is none.
    """
    for model in range(len(widths)):
        for row in range(offsets[model], offsets[model + 1]):
            for feature in range(widths[model]):
                value = x[row, feature]
                if value - value != 0.0 and not (filled[model] and np.isnan(value)):
                    return row, feature
    return -1, -1
