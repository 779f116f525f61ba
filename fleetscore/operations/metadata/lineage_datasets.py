"""Datasets of lineage, by OpenLineage's rules for names: what a run read, the models that it used, and the
table that it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    data_quality_metrics_dataset,
    dataset_version_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.generated.base import InputDataset, OutputDataset

from fleetscore.records import GOOD, InputFile, Manifest
from fleetscore.store.paths import table_root

_SINGLE_FILES = 20


def place_of(store_url: str, path: str) -> tuple[str, str]:
    """Namespace and name of what lies at a path of the store.

    >>> place_of("file:///srv/store", "data/vans/a.csv")
    ('file', '/srv/store/data/vans/a.csv')
    >>> place_of("https://acct.blob.core.windows.net/fleet", "tables/vans/")
    ('wasbs://fleet@acct.blob.core.windows.net', 'tables/vans')
    """
    parts, name = urlsplit(store_url), path.strip("/")
    if parts.scheme == "file":
        return "file", f"{unquote(parts.path).rstrip('/')}/{name}"
    container = parts.path.strip("/")
    if "/" in container:  # an emulator has the account in the path
        return f"{parts.scheme}://{parts.netloc}/{container}", name
    return f"wasbs://{container}@{parts.hostname}", name


def input_datasets(
    store_url: str, inputs: Sequence[InputFile], counts: Mapping[str, int]
) -> list[InputDataset]:
    """Each Delta table and landed file; other files singly, or by their folder where they are many.

    With outcomes in `counts` the data has assertions: one for each outcome that is not good.
    """
    single = [file for file in inputs if file.format == "delta" or file.path.startswith("landed/")]
    others = [file for file in inputs if file not in single] if len(single) < len(inputs) else []
    if len(others) <= _SINGLE_FILES:
        single, others = [*single, *others], []
    found = [_data(store_url, file.path, [file], counts, file.etag) for file in single]
    folders: dict[str, list[InputFile]] = {}
    for file in others:
        folders.setdefault(file.path.rpartition("/")[0], []).append(file)
    return found + [_data(store_url, folder, files, counts) for folder, files in sorted(folders.items())]


def model_datasets(store_url: str, workload: str, models: Mapping[str, int]) -> list[InputDataset]:
    """Each model set that scored partitions, with its version."""
    return [
        InputDataset(
            *place_of(store_url, f"models/{workload}/{version}"), facets={"version": _version(version)}
        )
        for version in sorted(models)
        if version
    ]


def result_dataset(
    store_url: str, manifest: Manifest, table_version: int | None, schema: Any
) -> OutputDataset:
    """The workload's result table, at the version that has the window, with rows and files of the window."""
    facets: dict[str, Any] = {
        "dataQualityMetrics": data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
            columnMetrics={}, rowCount=manifest.rows, fileCount=len(manifest.files)
        )
    }
    if table_version is not None:
        facets["version"] = _version(str(table_version))
    if schema is not None:
        fields = [schema_dataset.SchemaDatasetFacetFields(field.name, str(field.type)) for field in schema]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=manifest.rows, fileCount=len(manifest.files)
    )
    namespace, name = place_of(store_url, table_root(manifest.workload))
    return OutputDataset(namespace, name, facets=facets, outputFacets={"outputStatistics": written})


def model_set_dataset(store_url: str, workload: str, version: str) -> OutputDataset:
    """The model set that a training stored."""
    namespace, name = place_of(store_url, f"models/{workload}/{version}")
    return OutputDataset(namespace, name, facets={"version": _version(version)})


def _data(
    store_url: str, path: str, files: Sequence[InputFile], counts: Mapping[str, int], version: str = ""
) -> InputDataset:
    sizes = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
        size=sum(file.size_bytes for file in files), fileCount=len(files)
    )
    facets: dict[str, Any] = {"inputStatistics": sizes}
    if counts:
        facets["dataQualityAssertions"] = _assertions(counts)
    namespace, name = place_of(store_url, path)
    about = {"version": _version(version)} if version else {}
    return InputDataset(namespace, name, facets=about, inputFacets=facets)


def _assertions(counts: Mapping[str, int]) -> Any:
    """That no partition failed, was late or was quarantined, each with how many there are."""
    bad = sorted({"failed", "late", "quarantined", *counts} - {str(outcome) for outcome in GOOD})
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        assertions=[
            data_quality_assertions_dataset.Assertion(
                assertion=f"no_partition_{outcome}", success=not counts.get(outcome),
                expected="0", actual=str(counts.get(outcome, 0)),
            )
            for outcome in bad
        ]
    )  # fmt: skip


def _version(version: str) -> Any:
    return dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
