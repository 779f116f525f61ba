"""Where things lie in the store; every path of a run is made here."""

from __future__ import annotations


def run_id(workload: str, window: str, round_number: int = 1) -> str:
    """The id of the run of a window: the same for the same window, so that starting twice starts once.

    >>> run_id("sensor_anomaly", "2018-08-28T23"), run_id("sensor_anomaly", "2018-08-28T23", 2)
    ('sensor_anomaly-2018-08-28T23', 'sensor_anomaly-2018-08-28T23-r2')
    """
    return f"{workload}-{window}" + (f"-r{round_number}" if round_number > 1 else "")


def training_run_id(workload: str, first: str, stop: str, round_number: int = 1) -> str:
    """The id of a training run over the windows [first, stop).

    >>> training_run_id("store_sales", "90", "108")
    'store_sales-train-90-108'
    """
    return f"{workload}-train-{first}-{stop}" + (f"-r{round_number}" if round_number > 1 else "")


def carried_state_prefix(workload: str) -> str:
    """What windows of a workload leave to later ones so that these read less: it can always be made anew.

    >>> carried_state_prefix("pumps")
    'partials/pumps/state/'
    """
    return f"partials/{workload}/state/"


def run_folder(run: str) -> str:
    """The folder of a run, with a slash at the end."""
    return f"runs/{run}/"


def run_path(run: str, name: str) -> str:
    """A file of the run itself: run.json, plan.parquet, plan.json, shards.json, ledger.parquet,
    cancel.json, ...
    """
    return f"{run_folder(run)}{name}"


def shard_folder(run: str, shard: int) -> str:
    """The folder of a shard, with a slash at the end.

    >>> shard_folder("r", 7)
    'runs/r/shards/00007/'
    """
    return f"{run_folder(run)}shards/{shard:05d}/"


def shard_log_path(run: str, shard: int) -> str:
    """What a shard's process on Batch said; the task's name is that of batch.interface.task_id."""
    return run_path(run, f"logs/shard-{shard:05d}.stdout.txt")


def given_up_folder(run: str) -> str:
    """One file per shard on Batch that is not worth another try."""
    return run_path(run, "given_up/")


def shard_record_path(run: str, shard: int) -> str:
    """The shard's commit: created once, by the attempt that wins."""
    return f"{shard_folder(run, shard)}result.json"


def attempt_path(run: str, shard: int, attempt: str, name: str) -> str:
    """A file of one attempt at a shard."""
    return f"{shard_folder(run, shard)}attempts/{attempt}/{name}"


def backfill_names_path(workload: str, backfill: str) -> str:
    """The names of partitions that a backfill scores, where they are many."""
    return f"backfills/{workload}/{backfill}.json"


def table_root(table: str) -> str:
    """The root of a Delta table, with a slash at the end: of a workload's results, or `<workload>.events`.

    >>> table_root("vans")
    'tables/vans/'
    """
    return f"tables/{table}/"


def events_table(workload: str) -> str:
    """The table of a workload's events.

    >>> events_table("vans")
    'vans.events'
    """
    return f"{workload}.events"


def events_path(workload: str, window: str, run: str) -> str:
    """The events of a window, as a run found them.

    >>> events_path("vans", "2026-11-21", "vans-2026-11-21")
    'tables/vans.events/window=2026-11-21/vans-2026-11-21.parquet'
    """
    return f"{window_folder(events_table(workload), window)}{run}.parquet"


def window_folder(table: str, window: str) -> str:
    """The folder of a window's files in a table, with a slash at the end."""
    return f"{table_root(table)}window={window}/"


def result_path(workload: str, window: str, run: str, shard: int, attempt: str) -> str:
    """The results of one attempt at a shard, where they are published from.

    >>> result_path("vans", "2026-11-21", "vans-2026-11-21", 7, "a1")
    'tables/vans/window=2026-11-21/vans-2026-11-21.00007.a1.parquet'
    """
    return f"{window_folder(workload, window)}{run}.{shard:05d}.{attempt}.parquet"


def results_prefix(workload: str, window: str, run: str) -> str:
    """What the paths of all result files of the run begin with, and of no other run."""
    return f"{window_folder(workload, window)}{run}."


def copied_path(workload: str, window: str, run: str, digest: str) -> str:
    """Rows that a run has copied from a file of an earlier round, or a whole file that lay outside the
    table.
    """
    return f"{window_folder(workload, window)}{run}.copied-{digest}.parquet"


def held_folder(run: str) -> str:
    """Results that a check holds back, until they are published or the run is swept."""
    return run_path(run, "held/")


def sketches_beside(results: str) -> str:
    """The path of the sketches of the attempt that wrote the results file; of none where its rows were
    copied.

    >>> sketches_beside("tables/v/window=2026-11-21/v-2026-11-21.00007.a1.parquet")
    'runs/v-2026-11-21/shards/00007/attempts/a1/sketches.parquet'
    >>> sketches_beside("runs/r/shards/00000/attempts/a/results.parquet")
    'runs/r/shards/00000/attempts/a/sketches.parquet'
    """
    parts = results.rsplit("/", 1)[-1].split(".")
    if len(parts) == 4:
        run, shard, attempt, _ = parts
        return f"{run_folder(run)}shards/{shard}/attempts/{attempt}/sketches.parquet"
    return results.removesuffix("results.parquet") + "sketches.parquet"


def sink_path(workload: str, window: str) -> str:
    """The round of the window that the workload's database has."""
    return f"sinks/{workload}/{window}.json"


def manifest_path(workload: str, window: str) -> str:
    """The published truth of a window."""
    return f"results/{workload}/{window}/manifest.json"


def latest_path(workload: str) -> str:
    """Points to the newest published window of the workload."""
    return f"results/{workload}/latest.json"


def rates_path(workload: str, purpose: str = "score") -> str:
    """What this store has measured of the workload's speed at scoring or training.

    >>> rates_path("store_sales"), rates_path("store_sales", "train")
    ('rates/store_sales.json', 'rates/store_sales.train.json')
    """
    return f"rates/{workload}.json" if purpose == "score" else f"rates/{workload}.{purpose}.json"


def pool_rates_path(pool: str) -> str:
    """What this store has measured of how soon a Batch pool starts."""
    return f"rates/pools/{pool}.json"


def pool_waking_path(pool: str) -> str:
    """The evaluation of a Batch pool's formula that was the newest when this store's runs last read one."""
    return f"rates/pools/{pool}.woken"


def index_path(workload: str, day: str) -> str:
    """One line per run that was requested on the day (YYYY-MM-DD), so that listing runs reads no run."""
    return f"index/{workload}/{day}.json"


def notice_path(state: str, notice: str) -> str:
    """A notice: pending until it was delivered, then sent or given_up."""
    return f"notices/{state}/{notice}.json"


def outbox_path(receiver: str, state: str, name: str) -> str:
    """What is to be sent to a receiver about `name`: pending until it was sent, then done or given_up;
    without a name their folder.

    >>> outbox_path("lineage", "pending", "vans-2026-11-21")
    'outbox/lineage/pending/vans-2026-11-21.json'
    """
    return f"outbox/{receiver}/{state}/" + (f"{name}.json" if name else "")


def late_path(workload: str) -> str:
    """Which input was there when the workload's open windows were last looked at for late data."""
    return f"late/{workload}.json"


def profile_path(workload: str, version: str) -> str:
    """How the input and predictions of the version's first published run looked."""
    return f"profiles/{workload}/{version}.parquet"


def swept_path(workload: str) -> str:
    """Up to which day the workload's runs are swept, per kind of sweeping."""
    return f"swept/{workload}.json"


def mutes_folder(workload: str) -> str:
    """What users decided about the attention that the workload needs, with a slash at the end."""
    return f"attention/{workload}/"


def mute_path(workload: str, act: str, mute: str) -> str:
    """A mute (`mutes`), or its end before its time (`unmutes`); each is created once.

    >>> mute_path("store_sales", "mutes", "20261128T225711Z-33c989f3")
    'attention/store_sales/mutes/20261128T225711Z-33c989f3.json'
    """
    return f"{mutes_folder(workload)}{act}/{mute}.json"
