"""What every family of packed models shares: a compiled model, its facts, and the pack that scores many of
them at once.

A family is a subclass of `Pack`: it names its arrays in `layout`, checks their indices in `check_model`,
and scores in `score_rows`. Joining, subsets, bytes and the checks of sizes are the same for all and live
here and in `container`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import BugError, InputError, ModelError
from fleetscore.models.packs import container

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")

_LIMIT = 1 << 20
"""Features, or result columns, that no model exceeds."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model besides its numbers; equal facts are stored once per pack.

    `outputs` holds the number of result columns of each method that the model answers. A method named in
    `label_methods` returns the position of a class in `classes` (as float64), not the class itself.
    `compute` is the dtype that the library rounds features to before it computes; rows are always passed as
    float64. `recipe` is the family's own word for the way from its numbers to results.
    """

    n_features: int
    outputs: Mapping[str, int]
    library: str
    library_version: str = ""
    compute: Literal["float32", "float64"] = "float64"
    takes_nan: bool = False
    feature_names: tuple[str, ...] = ()
    classes: tuple[str | int | float | bool, ...] = ()
    label_methods: tuple[str, ...] = ()
    takes_infinity: bool = False
    recipe: str = ""


@dataclass(frozen=True)
class CompiledModel:
    """One model as plain one-dimensional arrays, by the names of its family's layout, and its facts."""

    family: str
    arrays: Mapping[str, NDArray[Any]]
    facts: ModelFacts


@dataclass(frozen=True)
class Pack(ABC):
    """Many models of one family: each array holds all models' numbers end to end, cut at `bounds`.

    `bounds[name]` (int64, models + 1) says where each model's part of `arrays[name]` begins and ends;
    `facts_of` (int32, models) is each model's place in `facts`. The arrays may be read-only views of a
    memory-mapped file.
    """

    arrays: Mapping[str, NDArray[Any]]
    bounds: Mapping[str, Indices]
    facts: tuple[ModelFacts, ...]
    facts_of: NDArray[np.int32]
    checked: NDArray[np.bool_] = field(init=False, repr=False, compare=False)

    family: ClassVar[str]
    layout: ClassVar[Mapping[str, str]]  # the arrays' names and dtypes
    narrow: ClassVar[frozenset[str]] = frozenset()  # those that are kept in the smallest type that holds them
    tolerance: ClassVar[float] = 0.0  # largest relative deviation from the library that counts as equal

    def __post_init__(self) -> None:
        """Note that no model has been checked yet."""
        object.__setattr__(self, "checked", np.zeros(self.facts_of.size, np.bool_))

    def __len__(self) -> int:
        """Return the number of models."""
        return int(self.facts_of.size)

    @classmethod
    def join(cls, models: Sequence[CompiledModel]) -> Self:
        """Pack the models, in their order; ModelError names the place of one whose arrays do not fit the
        layout.
        """
        for place, model in enumerate(models):
            _require_layout(cls, place, model)
        known: dict[str, int] = {}
        facts_of = [known.setdefault(repr(model.facts), len(known)) for model in models]
        facts = {at: model.facts for at, model in zip(facts_of, models, strict=True)}
        arrays, bounds = {}, {}
        for name, dtype in cls.layout.items():
            arrays[name], bounds[name] = _joined([model.arrays[name] for model in models], dtype)
        return cls(arrays, bounds, tuple(facts[at] for at in range(len(facts))), np.array(facts_of, np.int32))

    @classmethod
    def join_packs(cls, packs: Sequence[Self]) -> Self:
        """Put packs of this family together, their models in order."""
        return cls.join([pack.model(at) for pack in packs for at in range(len(pack))])

    @classmethod
    def from_bytes(cls, data: container.Buffer) -> Self:
        """Open a pack without copying its numbers (`data` may be a memory map); ModelError `corrupt_model`
        where it cannot be one.

        Sizes, dtypes and bounds are checked here, a model's indices when it is scored first (`check_model`).
        """
        header, arrays = container.unpack(data)
        if header.family != cls.family:
            raise ModelError(
                f"The pack holds models of family {header.family!r}, not {cls.family!r}.",
                fix="Import the models again.",
                code="corrupt_model",
            )
        return cls(*container.split(header, arrays, cls.layout, cls.narrow, ModelFacts))

    def to_bytes(self) -> bytes:
        """Return the pack as bytes that hold numbers and facts only; `from_bytes` reads them."""
        arrays = {
            name: container.narrowed(array) if name in self.narrow else array
            for name, array in self.arrays.items()
        }
        return container.pack(self.family, arrays, self.bounds, self.facts, self.facts_of, self.layout)

    def model(self, at: int) -> CompiledModel:
        """Return one model, its arrays as views; raises as `facts_of_model`."""
        facts = self.facts_of_model(at)
        return CompiledModel(self.family, {name: self.part(name, at) for name in self.layout}, facts)

    def part(self, name: str, at: int) -> NDArray[Any]:
        """Return one model's part of an array, a view unless the array is narrower than the layout."""
        bounds = self.bounds[name]
        return self.arrays[name][bounds[at] : bounds[at + 1]].astype(self.layout[name], copy=False)

    def facts_of_model(self, at: int) -> ModelFacts:
        """Return the facts of one model; ModelError `corrupt_model` where an index names a place that the pack
        does not have.
        """
        if not 0 <= at < len(self):
            raise container.corrupt(f"a pack of {len(self)} models has none at place {at}")
        return self.facts[int(self.facts_of[at])]

    def subset(self, indices: Iterable[int]) -> Self:
        """Return a pack of the models at these places, in this order; only their numbers are read and
        copied.
        """
        chosen = np.fromiter(indices, np.int64)
        arrays, bounds = {}, {}
        for name, dtype in self.layout.items():
            arrays[name], bounds[name] = _joined([self.part(name, at) for at in chosen], dtype)
        used, facts_of = np.unique(self.facts_of[chosen], return_inverse=True)
        return type(self)(arrays, bounds, tuple(self.facts[at] for at in used), facts_of.astype(np.int32))

    @property
    def size_bytes(self) -> int:
        """The bytes of the models' numbers in memory."""
        return sum(array.nbytes for array in (*self.arrays.values(), *self.bounds.values()))

    def score(self, offsets: Indices, x: Floats, method: str) -> Floats:
        """Score rows that are sorted by model: rows offsets[i] to offsets[i + 1] (end) belong to model i.

        `offsets` is int64 [models + 1]; `x` float64 [rows, features], C order, at least as wide as the
        widest model, which reads its first `n_features` columns. Returns float64 [rows, outputs]; columns
        that a model does not have are NaN. InputError for offsets or rows that do not fit and for infinite
        or missing values that a model refuses; ModelError for a method that a model does not answer
        (`unsupported_model`) and for indices out of range (`corrupt_model`).
        """
        width = self._require_rows(offsets, x, method)
        for at in np.flatnonzero(~self.checked & (np.diff(offsets) > 0)):
            self.check_model(int(at))
            self.checked[at] = True
        out = np.full((x.shape[0], width), np.nan)
        self.score_rows(offsets, x, method, out)
        return out

    def refused(self, offsets: Indices, x: Floats) -> NDArray[np.bool_]:
        """Return for each model whether its rows hold a NaN, infinity or overflow that its library refuses;
        bool [models].
        """
        counts = np.diff(offsets)
        found = np.zeros(len(self), np.bool_)
        places = np.unique(self.facts_of[counts > 0])
        if all(self.facts[place].takes_nan and self.facts[place].takes_infinity for place in places):
            return found
        bounds = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
        for place in places:
            facts = self.facts[place]
            limit = float(np.finfo(facts.compute).max)
            if -limit <= bounds[0] <= bounds[1] <= limit or (facts.takes_nan and facts.takes_infinity):
                continue
            own = x[:, : facts.n_features]
            bad = np.zeros(own.shape, np.bool_) if facts.takes_infinity else np.abs(own) > limit
            bad |= False if facts.takes_nan else np.isnan(own)
            rows = np.concatenate([[0], np.cumsum(bad.any(axis=1))])
            found |= (self.facts_of == place) & (rows[offsets[1:]] > rows[offsets[:-1]])
        return found

    def require_values(self, offsets: Indices, x: Floats) -> None:
        """InputError that names the first row and feature with a value that its model refuses; see
        `refused`.
        """
        refused = np.flatnonzero(self.refused(offsets, x))
        if not refused.size:
            return
        at, facts = int(refused[0]), self.facts_of_model(int(refused[0]))
        own = x[offsets[at] : offsets[at + 1], : facts.n_features]
        bad = np.abs(own) > float(np.finfo(facts.compute).max)
        bad = (bad & (not facts.takes_infinity)) | (np.isnan(own) & (not facts.takes_nan))
        row, feature = (int(place) for place in np.argwhere(bad)[0])
        name = facts.feature_names[feature] if facts.feature_names else feature
        raise InputError(
            f"Row {offsets[at] + row} has the value {own[row, feature]} in feature {name!r}, which its model refuses.",
            fix="Leave such rows out, or fill the values in.",
            field=str(name),
        )

    @abstractmethod
    def check_model(self, at: int) -> None:
        """Check every index of one model, so that scoring it reads nothing out of range; ModelError
        `corrupt_model` otherwise.
        """

    @abstractmethod
    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        """Fill `out` (float64 [rows, outputs], all NaN) for checked models and rows that fit; see `score`."""

    def critical_values(self, at: int) -> list[Floats]:  # noqa: ARG002  # families with thresholds override it
        """Return for each feature the values at which one model's answer may jump; `prove` tries them and
        their neighbours.
        """
        return []

    def magnitudes(self, x: Floats, method: str) -> Floats | None:  # noqa: ARG002  # families of sums override it
        """Return for a pack of one model the size of the terms that its answers are sums of, [rows, 1 or
        outputs], or None.

        Deviations are measured against it where it is larger than the answer: where terms cancel, no order
        of addition is right.
        """
        return None

    def margins(self, x: Floats) -> Floats | None:  # noqa: ARG002  # families with labels override it
        """Return for a pack of one model how far each row is from another label, relative to the terms
        compared, or None.
        """
        return None

    def _require_rows(self, offsets: Indices, x: Floats, method: str) -> int:
        """Return the number of result columns after checking what was passed."""
        if offsets.shape != (len(self) + 1,) or offsets[0] != 0 or offsets[-1] != len(x):
            raise BugError(
                f"Offsets of {len(self)} models over {len(x)} rows begin at 0 and end at the rows' number."
            )
        if np.any(np.diff(offsets) < 0):
            raise BugError("Offsets of rows must not decrease.")
        if x.dtype != np.float64 or x.ndim != 2 or not x.flags.c_contiguous:
            raise BugError("Rows are a C-ordered float64 matrix [rows, features].")
        used = [self.facts[at] for at in np.unique(self.facts_of[np.diff(offsets) > 0])]
        for facts in used:
            if method not in facts.outputs:
                raise ModelError(
                    f"A model of {facts.library} does not answer {method!r}.",
                    fix=f"Choose one of {', '.join(facts.outputs)}.",
                    field="method",
                    code="unsupported_model",
                )
            if facts.n_features > x.shape[1]:
                raise InputError(
                    f"A model takes {facts.n_features} features, the rows have {x.shape[1]}.",
                    field="features",
                )
        return max((facts.outputs[method] for facts in used), default=0)


def _require_layout(family: type[Pack], place: int, model: CompiledModel) -> None:
    """Raise ModelError unless the model's arrays are those of the family's layout."""
    if model.family != family.family or model.arrays.keys() != family.layout.keys():
        raise ModelError(f"Model {place} is not of family {family.family!r}.", code="unsupported_model")
    for name, dtype in family.layout.items():
        array = model.arrays[name]
        if array.ndim != 1 or array.dtype != np.dtype(dtype):
            raise ModelError(
                f"Array {name!r} of model {place} is {array.dtype} with {array.ndim} dimensions, not one of {dtype}.",
                code="unsupported_model",
            )


def _joined(parts: Sequence[NDArray[Any]], dtype: str) -> tuple[NDArray[Any], Indices]:
    """The parts end to end, and where each begins."""
    bounds = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([part.size for part in parts], out=bounds[1:])
    return (np.concatenate(parts) if parts else np.empty(0, dtype)), bounds
