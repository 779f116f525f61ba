"""A kind in one file: the mean and the largest pressure of every pump in an hour. Put it into the folder `fleets/`."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from fleetscore.records import InputFile
from fleetscore.windows import Cadence
from fleetscore.workload import Partitions, RunContext, Scored, Shard, Workload


class Pumps(Workload):
    """Input is data/pumps/<hour>.csv (or .parquet) with the columns pump and pressure."""

    cadences = (Cadence.HOUR,)
    result_schema = pa.schema([("pump", pa.string()), ("mean", pa.float64()), ("max", pa.float64())])
    partition_columns = ("pump",)

    def discover(self, run: RunContext) -> Partitions:
        entries = [e for prefix in self.data_prefixes() for e in run.store.list(f"{prefix}{run.window.key}.")]
        inputs = tuple(InputFile(e.path, e.etag, e.size_bytes) for e in entries)
        counts = read(run, inputs).group_by("pump").aggregate([("pressure", "count")])
        return Partitions(Partitions.table(counts["pump"], rows=counts["pressure_count"]), inputs)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        table = read(run, run.inputs)
        for pump in shard.keys:
            values = table.filter(pa.compute.equal(table["pump"], pump))["pressure"]
            if values.null_count:
                yield Scored.failed(
                    pump, "missing_pressure", f"{values.null_count} readings have no pressure."
                )
                continue
            row = {"pump": [pump], "mean": [pa.compute.mean(values)], "max": [pa.compute.max(values)]}
            yield Scored.of(pump, pa.table(row, self.result_schema), input_rows=len(values), rows=1)


def read(run: RunContext, inputs: tuple[InputFile, ...]) -> pa.Table:
    """All readings of the files."""
    schema = pa.schema([("pump", pa.string()), ("pressure", pa.float64())])
    tables = [schema.empty_table()]
    for file in inputs:
        with run.store.open(file.path) as source:
            table = pq.read_table(source) if file.path.endswith(".parquet") else csv.read_csv(source)
            tables.append(table.select(schema.names).cast(schema))
    return pa.concat_tables(tables)
