"""What the calls of Azure Anomaly Detector's clients find on labelled series, for docs/howto/azure-anomaly-detector.md.

`entire/detect` sees the whole series, its future included; the last 85 % are judged, as for sensors in docs/quality.md.
Run: python -m benchmarks.anomaly_detector FOLDER (labelled series of the Numenta Anomaly Benchmark, as for `quality`)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.quality import GROUPS, chance, summarise
from benchmarks.sensor_series import Floats, Series, labelled_series
from fleetscore.workloads.sensor_anomaly.detect.whole_series import detect_points

SENSITIVITIES = (99, 95, 85, 50)
RATIO = 0.25  # the default of maxAnomalyRatio
POINTS_MAX = 8640


def main(folder: Path) -> None:
    """Print the table."""
    print(
        "| series | `sensitivity` | windows hit | by chance | false events per series and day | points marked |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for group, title in GROUPS.items():
        series = labelled_series(folder, group)
        for sensitivity in SENSITIVITIES:
            marks = [entire_marks(one, sensitivity) for one in series]
            found = summarise(series, marks)
            print(
                f"| {title} | {sensitivity} | {found['hit']} of {found['spans']} | {chance(series, marks):.1f} "
                f"| {found['false_per_day']:.3f} | {found['marked']:.1%} |"
            )


def entire_marks(series: Series, sensitivity: int) -> Floats:
    """Marks of calls with as many points as one takes, one after the other; the last call has the last points."""
    marks = np.zeros(len(series.value))
    for start in range(0, len(series.value), POINTS_MAX):
        first = max(0, min(start, len(series.value) - POINTS_MAX))
        part = series.value[first : first + POINTS_MAX]
        marks[first : first + POINTS_MAX] = detect_points(part, None, sensitivity, RATIO).is_anomaly
    return marks


if __name__ == "__main__":
    main(Path(sys.argv[1]))
