"""Rivals of server_load's preparation: the same logs to the same hourly peaks, each the way its users write it.

Run as a program it does one engine once and prints {"seconds", "rows"}: python server_load_rivals.py ENGINE OUTPUT LOG...
Seconds count from after the imports (and, for Spark, after the session is up) until the hourly table is a Parquet file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

COLUMNS = (
    *(
        "TrafficType",
        "SessionStart",
        "SessionEnd",
        "Concurrent",
        "Mbytes",
        "ServiceGrade",
        "HTTP1",
        "ServerType",
    ),
    *("Load1", "Load2", "Load3", "Load4", "Load5", "Secure", "TotalLoad", "ServerIP", "ClientIP"),
)
NUMBERS = ("TotalLoad", "Mbytes", "Load1", "Load2", "Load3", "Load4", "Load5", "Secure")
SLOT_S, HOUR_S = 300, 3600


def run_polars(logs: list[str], output: str) -> Callable[[], int]:
    """Polars streaming, everything read as text with quoting off, then cast without strictness."""
    import polars as pl

    def work() -> int:
        schema = dict.fromkeys(COLUMNS, pl.String)
        lines = pl.scan_csv(
            logs, has_header=False, schema=schema, quote_char=None, truncate_ragged_lines=True
        )
        time_of = pl.col("SessionStart").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
        rows = lines.select(
            "ServerIP",
            (time_of.dt.epoch("s") // SLOT_S).alias("slot"),
            *[pl.col(name).cast(pl.Float64, strict=False).alias(name) for name in NUMBERS],
        ).filter(pl.col("slot").is_not_null() & pl.col("ServerIP").str.contains(r"^[0-9.]+$"))
        finite = [pl.col(name).filter(pl.col(name).is_finite()).sum() for name in NUMBERS]
        slots = rows.group_by("ServerIP", "slot").agg(*finite).collect(engine="streaming")
        hours = (
            slots.with_columns(hour=pl.col("slot") // (HOUR_S // SLOT_S))
            .sort("ServerIP", "hour", "TotalLoad", "slot", descending=[False, False, True, False])
            .unique(["ServerIP", "hour"], keep="first", maintain_order=True)
        )
        hours.write_parquet(output)
        return hours.height

    return work


def run_duckdb(logs: list[str], output: str) -> Callable[[], int]:
    """DuckDB on two threads within 1 GB: all columns VARCHAR, try_cast, quoting off."""
    import duckdb

    def work() -> int:
        base = duckdb.connect()
        base.execute("SET threads = 2; SET memory_limit = '1GB'; SET preserve_insertion_order = false")
        columns = dict.fromkeys(COLUMNS, "VARCHAR")
        cells = ", ".join(f"try_cast({name} AS DOUBLE) AS {name}" for name in NUMBERS)
        sums = ", ".join(f"sum({name}) FILTER (isfinite({name})) AS {name}" for name in NUMBERS)
        names = ", ".join(NUMBERS)
        base.execute(
            f"""
            COPY (
                WITH lines AS (
                    SELECT ServerIP, try_cast(SessionStart AS TIMESTAMP) AS ts, {cells}
                    FROM read_csv(?, header=false, auto_detect=false, delim=',', quote='', escape='', columns={columns},
                        null_padding=true, ignore_errors=true, strict_mode=false)
                ), slots AS (
                    SELECT ServerIP, epoch_ms(ts) // 300000 AS slot, {sums} FROM lines
                    WHERE ts IS NOT NULL AND regexp_matches(ServerIP, '^[0-9.]+$') GROUP BY ALL
                )
                SELECT ServerIP, slot // 12 AS hour, {names} FROM slots
                QUALIFY row_number() OVER (PARTITION BY ServerIP, slot // 12 ORDER BY TotalLoad DESC NULLS LAST, slot) = 1
            ) TO '{output}' (FORMAT parquet)
            """,  # noqa: S608 - built from the names above
            [logs],
        )
        found = base.execute("SELECT count(*) FROM read_parquet(?)", [output]).fetchone()
        return int(found[0]) if found else 0

    return work


def run_pandas(logs: list[str], output: str) -> Callable[[], int]:
    """pandas in chunks of half a million lines, sums merged at the end."""
    import csv

    import numpy as np
    import pandas as pd

    def work() -> int:
        parts = []
        for log in logs:
            chunks = pd.read_csv(
                log,
                header=None,
                names=COLUMNS,
                dtype=str,
                quoting=csv.QUOTE_NONE,
                on_bad_lines="skip",
                chunksize=500_000,
                keep_default_na=False,
            )
            for chunk in chunks:
                seconds = pd.to_datetime(chunk["SessionStart"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
                numbers = chunk[list(NUMBERS)].apply(pd.to_numeric, errors="coerce")
                numbers = numbers.where(np.isfinite(numbers), 0.0)
                good = seconds.notna() & chunk["ServerIP"].str.match(r"^[0-9.]+$", na=False)
                slot = seconds[good].astype("datetime64[s]").astype("int64") // SLOT_S
                parts.append(numbers[good].groupby([chunk["ServerIP"][good], slot.rename("slot")]).sum())
        slots = pd.concat(parts).groupby(level=[0, 1]).sum().reset_index()
        slots["hour"] = slots["slot"] // (HOUR_S // SLOT_S)
        slots = slots.sort_values(
            ["ServerIP", "hour", "TotalLoad", "slot"], ascending=[True, True, False, True]
        )
        hours = slots.drop_duplicates(["ServerIP", "hour"])
        hours.to_parquet(output)
        return len(hours)

    return work


def _session() -> Any:
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("logs").config("spark.driver.memory", "4g")
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.sql.ansi.enabled", "false").config("spark.sql.shuffle.partitions", "8")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def run_spark_reference(logs: list[str], output: str) -> Callable[[], int]:
    """Spark as the reference does it: schema inferred by a first pass, peaks through an RDD of Python rows."""
    import pyspark.sql.functions as f

    spark = _session()

    def work() -> int:
        lines = spark.read.csv(logs, header=False, sep=",", inferSchema=True, nanValue="", mode="PERMISSIVE")
        lines = lines.toDF(*COLUMNS[: len(lines.columns)])
        start = f.unix_timestamp("SessionStart")
        slots = lines.withColumn("slot", (start - start % SLOT_S).cast("timestamp"))
        slots = slots.groupBy("ServerIP", "slot").agg(
            f.sum("TotalLoad"), f.count("*"), *[f.sum(n) for n in NUMBERS[1:]]
        )
        slots.cache()
        hour = f.unix_timestamp("slot") - f.unix_timestamp("slot") % HOUR_S
        slots = slots.withColumn("hour", hour.cast("timestamp"))
        slots = slots.withColumn("key", f.concat("ServerIP", f.lit("_"), f.col("hour").cast("string")))
        slots = slots.fillna(0, subset=["sum(TotalLoad)"])
        pairs = slots.rdd.map(lambda row: (row[-1], row))
        peaks = pairs.reduceByKey(lambda a, b: max(a, b, key=lambda row: row[2])).values().toDF()
        peaks.write.mode("overwrite").parquet(output)
        return int(spark.read.parquet(output).count())

    return work


def run_spark_tuned(logs: list[str], output: str) -> Callable[[], int]:
    """Spark with a given schema and a window instead of the RDD."""
    import pyspark.sql.functions as f
    from pyspark.sql import Window

    spark = _session()

    def work() -> int:
        schema = ", ".join(f"{name} STRING" for name in COLUMNS)
        lines = spark.read.csv(logs, header=False, schema=schema, mode="PERMISSIVE", quote="")
        seconds = f.unix_timestamp("SessionStart", "yyyy-MM-dd HH:mm:ss")
        rows = lines.select(
            "ServerIP",
            f.floor(seconds / SLOT_S).alias("slot"),
            *[f.col(n).cast("double").alias(n) for n in NUMBERS],
        )
        rows = rows.where("slot IS NOT NULL AND ServerIP RLIKE '^[0-9.]+$'")
        slots = rows.groupBy("ServerIP", "slot").agg(*[f.sum(n).alias(n) for n in NUMBERS])
        slots = slots.withColumn("hour", f.floor(f.col("slot") / 12))
        order = Window.partitionBy("ServerIP", "hour").orderBy(f.desc("TotalLoad"), "slot")
        peaks = slots.withColumn("place", f.row_number().over(order)).where("place = 1").drop("place")
        peaks.write.mode("overwrite").parquet(output)
        return int(spark.read.parquet(output).count())

    return work


ENGINES = {
    "spark, the reference way": run_spark_reference,
    "spark tuned": run_spark_tuned,
    "pandas, chunks": run_pandas,
    "polars streaming": run_polars,
    "duckdb, 1 GB cap": run_duckdb,
}


def main() -> None:
    """Run the engine that the arguments name."""
    engine, output, *logs = sys.argv[1:]
    work = ENGINES[engine](logs, output)
    begun = time.perf_counter()
    rows = work()
    print(json.dumps({"seconds": time.perf_counter() - begun, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
