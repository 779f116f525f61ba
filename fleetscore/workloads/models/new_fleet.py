"""A new fleet from its data and models: what each line of its settings is guessed from, and the file's
text.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from fleetscore.capabilities import FleetImport, Guess, NewFleet, Proposal
from fleetscore.errors import InputError
from fleetscore.models.importers.formats import without_suffix
from fleetscore.models.importers.naming import MANIFEST, describe_unnamed, list_source_models
from fleetscore.models.packs.base import METHODS, ModelFacts
from fleetscore.models.packs.bundle import open_bundle
from fleetscore.models.packs.shard_scoring import has_generic_names
from fleetscore.settings import own_settings, read_zone
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.workloads.models.data_guess import (
    DataGuess,
    TimeGuess,
    guess_time,
    look_at_data,
    name_columns,
    narrow_by_date,
    text_values,
)
from fleetscore.workloads.models.importing import import_fleet
from fleetscore.workloads.models.key_guess import DEFAULT, KeyGuess, guess_keys, guess_partition
from fleetscore.workloads.models.settings import FleetData, FleetSettings, ModelsTable

Certainty = Literal["given", "sure", "likely", "guess"]
_GLOB = frozenset("*?[{")


@dataclass(frozen=True, slots=True)
class _Keys:
    """The partition, the patterns of model keys, and the guesses that gave them."""

    partition: tuple[str, ...]
    patterns: tuple[str, ...]
    guesses: tuple[Guess, ...]

    @property
    def written(self) -> str | tuple[str, ...]:
        """The patterns as settings have them."""
        return self.patterns[0] if len(self.patterns) == 1 else self.patterns

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all patterns."""
        return tuple(dict.fromkeys(name for pattern in self.patterns for name in _columns_of(pattern)))


def propose_fleet(
    store: Store, asked: NewFleet, report: Callable[[str, int, int, str], None] | None = None
) -> Proposal:
    """See `ProposesFleets`."""
    zone = read_zone({"timezone": asked.timezone or "UTC"}, "--timezone")
    data = _look(store, asked)
    rows = data.rows
    time = _time(rows, asked, zone)
    keys = _keys(rows, asked, time)
    imported = _import(asked, keys, report) if asked.models else None
    facts = _facts(imported) if imported else []
    features, told = _features(rows, facts, keys, time)
    path = _path(asked, data, time, zone)
    guesses = [
        path,
        *([_time_guess(asked, time)] if time else []),
        *keys.guesses,
        _window(asked, path, time),
        _zone(asked, time),
        told,
        *_answers(asked, facts),
        *_encoding(data),
    ]
    text = _toml(asked, data, time, guesses, keys, features)
    own_settings(_parsed(text), FleetSettings, "the proposed settings")
    copied = tuple(file.path for file in data.files) if asked.folder else ()
    unnamed = describe_unnamed(imported.unnamed) if imported else ""
    remarks = (*data.passed_over, *data.faults, *([unnamed] if unnamed else []))
    return Proposal(text, tuple(guesses), imported, copied, remarks)


def _look(store: Store, asked: NewFleet) -> DataGuess:
    if asked.folder is not None:
        return look_at_data(open_store(str(asked.folder)), "", asked.data)
    if _GLOB & set(asked.data):
        return look_at_data(store, "", asked.data)
    is_file = "://" not in asked.data and store.stat(asked.data) is not None
    if is_file:
        return look_at_data(store, "", asked.data)
    return look_at_data(
        store, f"{asked.data.strip('/')}/" if "://" not in asked.data else f"{asked.data.rstrip('/')}/"
    )


def _time(rows: Any, asked: NewFleet, zone: str) -> TimeGuess | None:
    if not asked.time:
        return guess_time(rows, zone)
    if asked.time not in rows.column_names:
        raise InputError(
            f"The data has no column {asked.time!r}.",
            fix=f"It has {', '.join(rows.column_names)}.",
            field="time",
        )
    return guess_time(rows.select([asked.time]), zone) or TimeGuess(asked.time, "", False, ())


def _keys(rows: Any, asked: NewFleet, time: TimeGuess | None) -> _Keys:
    candidates = name_columns(rows, time.column if time else "")
    values = {name: text_values(rows[name]) for name in candidates}
    missing = [name for name in asked.partition if name not in rows.column_names]
    if missing:
        raise InputError(
            f"The data has no column {missing[0]!r}.",
            fix=f"It has {', '.join(rows.column_names)}.",
            field="partition",
        )
    further: tuple[str, ...] = ()
    if asked.keys:
        key, further = KeyGuess(asked.keys[0], _columns_of(asked.keys[0]), 0, 0), asked.keys[1:]
        told = Guess("key", ", ".join(one or '""' for one in asked.keys), "given", "as --key says")
    elif asked.models is None:
        key, told = KeyGuess("", (), 0, 0), Guess("key", "the partition", "likely", "one model for each")
    else:
        guesses = guess_keys(_names(asked.models, asked.manifest), values)
        key, further = guesses[0], tuple(one.pattern for one in guesses[1:])
        told = _key_guess(guesses)
    if asked.partition:
        found, partition = (
            asked.partition,
            Guess("partition", ", ".join(asked.partition), "given", "as --partition says"),
        )
    else:
        found = guess_partition(rows, key, candidates)
        partition = _partition_guess(found, key)
    pattern = key.pattern if asked.keys or key.matched else "/".join(f"{{{name}}}" for name in found)
    return _Keys(found, (pattern, *further), (partition, told))


def _names(models: Path, manifest: Path | None) -> list[str]:
    """The keys that a manifest gives, else the names of the models without suffix."""
    found = list_source_models(models, ("",), manifest)
    if manifest is not None or (models / MANIFEST).is_file():
        return [model.key or DEFAULT for model in found if model.refusal is None]
    return [_plain_name(model.name if model.path.is_dir() else without_suffix(model.name)) for model in found]


def _plain_name(name: str) -> str:
    """The name with its escapes undone, unless a slash among them would look like a folder."""
    plain = unicodedata.normalize("NFC", unquote(name))
    return plain if plain.count("/") == name.count("/") else name


def _columns_of(pattern: str) -> tuple[str, ...]:
    return tuple(part.partition("}")[0] for part in pattern.split("{")[1:])


def _key_guess(keys: Sequence[KeyGuess]) -> Guess:
    if not keys[0].columns:
        return Guess("key", '""', "likely", "there is one model: it scores all rows")
    columns = [key for key in keys if key.columns]
    parts = [f"{key.matched} of {key.values} values of {', '.join(key.columns)}" for key in columns]
    certainty: Certainty = "sure" if all(key.matched >= 0.9 * key.values for key in columns) else "likely"
    why = f"{' and '.join(parts)} are names of models{', default is that of all' if len(columns) < len(keys) else ''}"
    return Guess("key", ", ".join(key.pattern or '""' for key in keys), certainty, why)


def _partition_guess(found: tuple[str, ...], key: KeyGuess) -> Guess:
    if found == key.columns:
        return Guess("partition", ", ".join(found), "sure", "each has a model of its own")
    if key.columns:
        return Guess("partition", ", ".join(found), "likely", f"each value has one {', '.join(key.columns)}")
    return Guess("partition", ", ".join(found), "guess", "the column with the most names that repeat")


def _import(asked: NewFleet, keys: _Keys, report: Callable[[str, int, int, str], None] | None) -> FleetImport:
    """The models, imported for the first method that all of them answer."""
    settings = FleetSettings(
        partition=keys.partition, models=ModelsTable(key=keys.written), data=FleetData(path="data")
    )
    if asked.models is None:
        raise InputError("There are no models to import.", field="models")
    source = asked.models
    if keys.patterns == ("",) and asked.manifest is None:
        found = list_source_models(source, ("",))
        source = found[0].path if len(found) == 1 else source  # one alone has any name
    return import_fleet(
        source, settings, None, trusted=asked.trusted, manifest=asked.manifest, report=report, method=""
    )


def _facts(imported: FleetImport) -> list[ModelFacts]:
    """What each model says of itself, one for each model, so that usual signatures outweigh odd ones."""
    bundle = open_bundle(imported.draft.files.__getitem__)
    places = (bundle.index[name].to_pylist() for name in ("pack", "place"))
    return [bundle.pack(number).facts_of_model(place) for number, place in zip(*places, strict=True)]


def _path(asked: NewFleet, data: DataGuess, time: TimeGuess | None, zone: str) -> Guess:
    prefix = f"data/{asked.name}/" if asked.folder else ""
    narrowed = narrow_by_date(data, time, zone) if not _GLOB & set(asked.data) else ""
    if narrowed:
        return Guess("path", prefix + narrowed, "sure", "the files' names hold the date of their rows")
    if _GLOB & set(asked.data):
        return Guess("path", prefix + data.pattern, "given", "as --data says")
    return Guess("path", prefix + data.pattern, "sure", f"a window reads {_count(data.files)}")


def _count(files: Sequence[object]) -> str:
    return "the one file" if len(files) == 1 else f"all {len(files):,} files"


def _time_guess(asked: NewFleet, time: TimeGuess) -> Guess:
    if asked.time:
        return Guess("time", time.column, "given", "as --time says")
    if time.rivals:
        return Guess("time", time.column, "guess", f"{', '.join(time.rivals)} could be it as well")
    return Guess("time", time.column, "sure", "the only column that holds times")


def _window(asked: NewFleet, path: Guess, time: TimeGuess | None) -> Guess:
    if asked.window:
        return Guess("window", asked.window, "given", "as --window says")
    if time is None:
        raise InputError(
            "No column holds times, so no row belongs to a window.", fix="Give --time COLUMN.", field="time"
        )
    if "{window:" not in path.value:
        return Guess("window", "day", "guess", "nothing says otherwise")
    hourly = "%H" in path.value
    return Guess(
        "window", "hour" if hourly else "day", "likely", f"a file {'an hour' if hourly else 'a day'}"
    )


def _zone(asked: NewFleet, time: TimeGuess | None) -> Guess:
    if asked.timezone:
        return Guess("timezone", asked.timezone, "given", "as --timezone says")
    if time is not None and not time.has_zone:
        return Guess("timezone", "UTC", "guess", "the times have no zone; give --timezone if they are local")
    return Guess("timezone", "UTC", "likely", "the times have a zone; days are cut in UTC")


def _encoding(data: DataGuess) -> list[Guess]:
    if "encoding" not in data.written:
        return []
    why = "the text is no UTF-8; another would give other letters"
    return [Guess("encoding", data.written["encoding"], "guess", why)]


def _features(
    rows: Any, facts: Sequence[ModelFacts], keys: _Keys, time: TimeGuess | None
) -> tuple[list[str], Guess]:
    """The features in the order that most models name, else the columns of numbers in theirs."""
    named = Counter(
        one.feature_names
        for one in facts
        if one.feature_names and not has_generic_names(one, rows.column_names)
    )
    if named:
        features = dict.fromkeys(name for names, _ in named.most_common() for name in names)
        lacking = [name for name in features if name not in rows.column_names]
        why = f"the data lacks {', '.join(lacking[:3])}" if lacking else "as the models name them"
        features = {name: None for name in features if name not in lacking or _is_usual(name, named)}
        return list(features), Guess("features", ", ".join(features), "guess" if lacking else "sure", why)
    taken = {*keys.partition, *keys.columns, time.column if time else ""}
    numbers = [name for name in rows.column_names if name not in taken and str(rows[name].type) == "double"]
    widths = {one.n_features for one in facts}
    fits = widths in ({len(numbers)}, set())
    if not numbers:
        raise InputError("The data has no column of numbers that could be a feature.", field="features")
    why = "the columns of numbers, in their order; the models name none"
    if not fits:
        why = (
            f"the models take {', '.join(map(str, sorted(widths)))} features without names: correct the line"
        )
    return numbers, Guess("features", ", ".join(numbers), "guess", why)


def _is_usual(name: str, named: Counter[tuple[str, ...]]) -> bool:
    """Whether at least half of the models that name their features take it."""
    return 2 * sum(count for names, count in named.items() if name in names) >= named.total()


def _answers(asked: NewFleet, facts: Sequence[ModelFacts]) -> list[Guess]:
    """The method that all models answer, and what its answer is called."""
    method = next((m for m in METHODS if all(m in one.outputs for one in facts)), "predict")
    output = Guess("output", asked.output or "prediction", "given" if asked.output else "guess",
                   "as --output says" if asked.output else "models do not name it; --output does")  # fmt: skip
    found = [output]
    if method != "predict":
        found.append(Guess("method", method, "sure", "the models do not answer predict"))
    if method == "predict" and facts and all(one.classes for one in facts):
        found.append(Guess("output_type", "text", "sure", "the models are classifiers"))
    return found


def _toml(
    asked: NewFleet, data: DataGuess, time: TimeGuess | None, guesses: Sequence[Guess], keys: _Keys, features: Sequence[str]
) -> str:  # fmt: skip
    """The settings file, a comment beside each line that is not sure."""
    told = {guess.line: guess for guess in guesses}
    apart = [name for name in keys.columns if name not in keys.partition]
    kept = [*([time.column] if time else []), *apart]
    lines = [
        'kind = "models"',
        _line("partition", list(keys.partition), told["partition"]),
        _line("window", told["window"].value, told["window"]),
        _line("timezone", told["timezone"].value, told["timezone"]),
        f"schedule = {_text(asked.schedule)}" if asked.schedule else '# schedule = "0 30 3 * * *"  # absent: on demand only',
        "", "[data]",
        _line("path", told["path"].value, told["path"]),
        *([f"path_timezone = {_text(told['timezone'].value)}"] if "{window:" in told["path"].value else []),
        *(_line(name, value, told.get(name, Guess(name, value, "sure", ""))) for name, value in data.written.items()),
        *([_line("time", time.column, told["time"])] if time else []),
        *([f"time_format = {_text(time.format)}"] if time and time.format else []),
        _line("features", features, told["features"]),
        f"keep = {_text(kept)}  # copied into the results" if kept else "",
        "", "[models]",
        _line("key", keys.written, told["key"]),
        *(_line(name, told[name].value, told[name]) for name in ("output", "method", "output_type") if name in told),
    ]  # fmt: skip
    return "\n".join(line for line in lines if line is not None) + "\n"


def _line(name: str, value: Any, guess: Guess) -> str:
    comment = f"  # {guess.certainty}: {guess.why}" if guess.certainty in ("likely", "guess") else ""
    return f"{name} = {_text(value)}{comment}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parsed(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)
