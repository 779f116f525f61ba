"""What is wrong in the month, and how it has to be reported: fault by fault, with the window, the cause, the partition and the words."""

from dataclasses import dataclass

import month_estate as estate


@dataclass(frozen=True)
class Fault:
    """A planted fault: the first and the last window with it, `window` to look at it, and what `attention`, run and
    explanation have to say.
    """

    name: str
    workload: str
    first: str
    last: str
    cause: str
    partition: str
    detail: str
    window: str = ""

    @property
    def run(self) -> str:
        """The run in which it is looked at."""
        return f"{self.workload}-{self.window or self.first}"


FAULTS = [
    Fault(
        "a dead sensor", "sensor_anomaly", estate.DEAD_HOURS[0], "2020-06-05T09",
        "no_readings", estate.DEAD, "no reading in the window",
    ),
    Fault(
        "a frozen sensor", "sensor_anomaly", estate.FROZEN_HOURS[0], "2020-06-12T10",
        "drifted", estate.FROZEN, "The deviation of its input is 0",
    ),
    Fault(
        "a damaged model set", "sensor_anomaly", estate.CORRUPT_HOURS[0], "2020-06-22T04",
        "corrupt_model", estate.SENSORS[0], "is not what was stored: its SHA-256 differs",
    ),
    Fault(
        "a spoilt log", "server_load", estate.SPOILT_DAY, "2020-06-30",
        "file_set_aside", estate.SPOILT_SERVER, f"{estate.SPOILT_LOG}: 40 of 100 rows are unusable",
    ),
    Fault(
        "a silent server", "server_load", estate.SILENT_DAY, "2020-06-30",
        "no_recent_sessions", estate.SILENT_SERVER, "2020-06-19",
    ),
    Fault(
        "a pool without quota", "store_sales", estate.QUOTA_WEEK, estate.OUTAGE_WEEK,
        "shard_lost", estate.STORES[0], "The pool says: AccountLowPriorityCoreQuotaReached",
    ),
    Fault(
        "a pool without nodes", "store_sales", estate.QUOTA_WEEK, estate.OUTAGE_WEEK,
        "shard_lost", estate.STORES[0], "The pool says: AllocationFailed", window=estate.OUTAGE_WEEK,
    ),
    Fault(
        "a store whose sales are nonsense", "store_sales", "2020-W23", "2020-W26",
        "too_many_rejects", estate.SPOILT_STORE, "104 negative sales",
    ),
    Fault(
        "a store whose sales never came", "store_sales", "2020-W24", "2020-W26",
        "stale_history", estate.FORSAKEN_STORE, "The last 5 weeks before the window are missing",
    ),
]  # fmt: skip

FURTHER_CAUSES = {
    ("store_sales", "negative_sales")
}  # what made the rejects of the store whose sales are nonsense
