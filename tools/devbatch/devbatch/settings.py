"""The settings of the service: quotas, images, environment, pools; checked before the service starts."""

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from devbatch.autoscale import FormulaError, with_parameters
from devbatch.errors import ConfigurationError

#: When a request to enable autoscale has the formula evaluated.
EnableAutoscale = Literal["at-once", "after-interval"]


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of the account; None is no limit. Cores are counted by VM size, Spot apart from dedicated."""

    dedicated_cores: int | None = None
    spot_cores: int | None = None
    pools: int | None = None
    active_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class PoolFile:
    """A pool as a `--pool` file describes it; `body` is a request body for "create pool"."""

    body: dict[str, Any]
    boot_s: float | None = None
    resize_error: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `start`.

    `images` maps an image, with or without tag or digest, to the words that stand for its entry point.
    `environment` is set in every task, as an image's ENV would be. `boot_s` is in simulated seconds.
    `has_foreign_environment` runs tasks as on another machine: see `devbatch.users`.
    """

    data: Path
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    boot_s: float = 120.0
    time_scale: float = 1.0
    quota: Quota = Quota()
    pools: tuple[PoolFile, ...] = ()
    enable_autoscale: EnableAutoscale = "at-once"
    has_foreign_environment: bool = False


class _PoolEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    vm_size: str = "Standard_D4ads_v5"
    task_slots_per_node: int = 1
    containers: bool = False
    dedicated_nodes: int = 0
    spot_nodes: int = 0
    autoscale_formula: str | None = None
    autoscale_interval: str = "PT5M"
    autoscale_parameters: dict[str, float] = {}
    boot_seconds: float | None = None
    resize_error: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    pools: list[_PoolEntry] = []
    quota: Quota | None = None


def read_pool_file(path: Path) -> tuple[tuple[PoolFile, ...], Quota | None]:
    """The pools of a TOML file (tables `[[pools]]`) and its `[quota]`, where it has one.

    A formula that starts with `@` names a file beside this one. Raises ConfigurationError naming the file and
    field.
    """
    try:
        parsed = msgspec.convert(tomllib.loads(path.read_text()), _File)
        return tuple(_pool_file(entry, path.parent) for entry in parsed.pools), parsed.quota
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, FormulaError) as error:
        raise ConfigurationError(f"The pool file {path} cannot be used: {error}") from error


def pool_of_nodes(count: int, slots: int) -> PoolFile:
    """A pool named `local` with a fixed number of dedicated nodes, for tasks with or without a container."""
    entry = _PoolEntry("local", dedicated_nodes=count, task_slots_per_node=slots)
    return _pool_file(entry, Path())


def _pool_file(entry: _PoolEntry, folder: Path) -> PoolFile:
    machine = {
        "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    } | ({"containerConfiguration": {"type": "dockerCompatible"}} if entry.containers else {})
    scale: dict[str, Any] = {
        "targetDedicatedNodes": entry.dedicated_nodes,
        "targetLowPriorityNodes": entry.spot_nodes,
    }
    if entry.autoscale_formula is not None:
        formula = entry.autoscale_formula
        if formula.startswith("@"):
            formula = (folder / formula[1:]).read_text()
        formula = with_parameters(formula, entry.autoscale_parameters)
        scale = {
            "enableAutoScale": True,
            "autoScaleFormula": formula,
            "autoScaleEvaluationInterval": entry.autoscale_interval,
        }
    body = {
        "id": entry.id,
        "vmSize": entry.vm_size,
        "taskSlotsPerNode": entry.task_slots_per_node,
        "virtualMachineConfiguration": machine,
        **scale,
    }
    return PoolFile(body, entry.boot_seconds, entry.resize_error)


def with_quota(quota: Quota, changes: Mapping[str, int | None]) -> Quota:
    """The quota with some limits changed; raises ConfigurationError for a name that is not a limit."""
    unknown = set(changes) - {"dedicated_cores", "spot_cores", "pools", "active_jobs"}
    if unknown:
        raise ConfigurationError(f"There is no quota {sorted(unknown)[0]!r}")
    return replace(quota, **changes)


def read_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a dictionary; raises ConfigurationError naming the option."""
    read = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"{option} {pair!r}: NAME=VALUE is expected")
        read[name] = value
    return read


def read_images(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`IMAGE=COMMAND` texts as a dictionary of words.

    Raises ConfigurationError. Neither part may be empty.
    """
    images = {name: tuple(shlex.split(command)) for name, command in read_pairs("--image", pairs).items()}
    for name, words in images.items():
        if not words:
            raise ConfigurationError(
                f"--image {name}=: the command that stands for the entry point is missing"
            )
    return images
