"""The data of a month: twelve sensors, six servers and six stores in June 2020, small but real, and what is wrong with some of them.

June 2020 begins on a Monday: its five weeks begin in it, W23 to W27. What models are trained on lies before it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from fleetscore.store.base import Store
from fleetscore.windows import Cadence, window_at
from fleetscore.workloads.server_load.samples import Day, Shape, generate_days, server_names, write_day

START, STOP = datetime(2020, 6, 1, tzinfo=UTC), datetime(2020, 7, 1, tzinfo=UTC)
SENSORS = [f"pump-{pump}/{sensor}" for pump in range(4) for sensor in ("current", "flow", "pressure")]
READINGS = 12  # of a sensor in an hour
SERVERS = server_names(6)
STORES = [f"S0{number}" for number in range(1, 7)]

DEAD, DEAD_HOURS = "pump-1/current", ("2020-06-03T10", "2020-06-05T10")  # [first, stop)
FROZEN, FROZEN_HOURS = "pump-2/flow", ("2020-06-12T05", "2020-06-12T11")
LATE, LATE_HOUR = "pump-3", "2020-06-18T14"  # all of its sensors, for an hour
CORRUPT_HOURS = ("2020-06-22T02", "2020-06-22T05")  # scored with a model set that was damaged
SPOILT_LOG, SPOILT_SERVER, SPOILT_DAY = "data/server_load/copied-by-hand.csv", SERVERS[3], "2020-06-10"
SILENT_SERVER, SILENT_DAY = SERVERS[5], "2020-06-20"  # its last session is of the day before
WEEKS = [f"2020-W{week}" for week in range(23, 28)]
QUOTA_WEEK, OUTAGE_WEEK = (
    "2020-W25",
    "2020-W27",
)  # the pool gets no nodes: no quota left; no capacity in the region
SPOILT_STORE = "S05"  # a third of its sales are negative
FORSAKEN_STORE, LAST_WEEK_TOLD = "S03", "2020-W18"  # its sales have not come since: too old from W24 on


def hours() -> list[str]:
    """The 720 windows of the sensors."""
    return [f"{START + timedelta(hours=hour):%Y-%m-%dT%H}" for hour in range(30 * 24)]


def days() -> list[str]:
    """The 30 windows of the servers."""
    return [f"{START + timedelta(days=day):%Y-%m-%d}" for day in range(30)]


def write_sensors(store: Store) -> None:
    """A file an hour, from a day before the month on, without those that are dead or late."""
    for hour in range(-24, 30 * 24):
        moment = START + timedelta(hours=hour)
        store.write(f"data/sensor_anomaly/{moment:%Y-%m-%dT%H}.csv", _readings(moment, late=False))


def write_late_readings(store: Store) -> None:
    """What came late, in a file of its own."""
    moment = datetime.strptime(LATE_HOUR, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    store.write(f"data/sensor_anomaly/late/{LATE_HOUR}.csv", _readings(moment, late=True))


def _readings(moment: datetime, *, late: bool) -> bytes:
    """The hour's readings that come on time, or those that do not."""
    hour = f"{moment:%Y-%m-%dT%H}"
    values = np.random.default_rng(int(moment.timestamp())).normal(50.0, 5.0, (len(SENSORS), READINGS))
    lines = ["ts,device,sensor,value"]
    for sensor, row in zip(SENSORS, values, strict=True):
        is_late = hour == LATE_HOUR and sensor.startswith(LATE)
        if is_late is not late or (sensor == DEAD and DEAD_HOURS[0] <= hour < DEAD_HOURS[1]):
            continue
        if sensor == FROZEN and FROZEN_HOURS[0] <= hour < FROZEN_HOURS[1]:
            row[:] = 50.0
        key = sensor.replace("/", ",")
        lines += [f"{hour}:{5 * n:02d}:00Z,{key},{value:.3f}" for n, value in enumerate(row)]
    return "\n".join(lines).encode()


def write_servers(store: Store) -> None:
    """A log a day from May on, and one day's log of a server that was copied by hand and spoilt."""
    first = window_at(datetime(2020, 5, 1, tzinfo=UTC), Cadence.DAY)
    shape = Shape(len(SERVERS), 61, first.ordinal, sessions_per_hour=6.0)
    for number, day in enumerate(generate_days(shape)):
        key = first.next(number).key
        with store.sink(f"data/server_load/sessions-{key}.csv") as file:
            write_day(file, _heard(day) if key >= SILENT_DAY else day, shape)
    store.write(SPOILT_LOG, "".join(_spoilt_lines()).encode())
    store.write(
        "settings/server_load.toml", b"buckets = 1\nforest_trees = 20\n[run]\nerror_threshold = 0.3\n"
    )


def _heard(day: Day) -> Day:
    """The day without the server that fell silent."""
    keep = day.server != SERVERS.index(SILENT_SERVER)
    columns = {name: column[keep] for name, column in day.columns.items()}
    return Day(day.server[keep], day.start_s[keep], columns, day.load_cents[keep])


def _spoilt_lines() -> Iterator[str]:
    for number in range(100):
        minute = 61 if number % 5 < 2 else number % 60  # two of five times are impossible
        start = f"{SPOILT_DAY} 09:{minute:02d}:00"
        yield f"1,{start},{SPOILT_DAY} 10:00:00,3,1.5,1,1,web,1,1,1,1,1,0.5,5,{SPOILT_SERVER},192.168.0.1\n"


def write_stores(store: Store) -> None:
    """The history of a year and a half up to W26, and the weeks ahead that are planned, up to W40."""
    random = np.random.default_rng(6)
    first = window_at(START, Cadence.WEEK).next(-80)
    history, future = ["store,sku,week,price,deal,feat,sales"], ["store,sku,week,price,deal,feat"]
    for name in STORES:
        told_until = LAST_WEEK_TOLD if name == FORSAKEN_STORE else "2020-W26"
        for sku in ("tea", "rice", "soap", "salt"):
            price, level = random.uniform(1.5, 4.0), random.uniform(3.5, 5.0)
            for number in range(98):
                week, deal = first.next(number).key, int(random.random() < 0.2)
                planned = f"{name},{sku},{week},{price * (1 - 0.2 * deal):.2f},{deal},{deal}"
                sold = int(np.exp(level + 0.5 * deal + random.normal(0.0, 0.2)))
                if name == SPOILT_STORE and number % 3 == 0:
                    sold = -1 - sold
                (history if week <= told_until else future).append(
                    f"{planned},{sold}" if week <= told_until else planned
                )
    store.write("data/store_sales/history.csv", "\n".join(history).encode())
    store.write("data/store_sales/future.csv", "\n".join(future).encode())
    own = "rounds = 5\nleaves = 4\ncalibration_blocks = 0\n"
    run = "[run]\nerror_threshold = 0.3\npool_nodes = 1\ncheck_s = 0.5\nstart_limit_s = 8.0\n"
    store.write("settings/store_sales.toml", (own + run).encode())
