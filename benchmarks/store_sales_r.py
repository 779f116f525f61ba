"""R as the rival of benchmarks/store_sales.py: its gbm, its predict, and our scorer of the same trees."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.store_sales_chain import WEEKS, fastest, reference_features

HERE = Path(__file__).resolve().parent
Line = dict[str, Any]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}

R_SCRIPT = """
suppressMessages(library(gbm))
args <- commandArgs(trailingOnly = TRUE)
train <- read.csv(file.path(args[1], "train.csv")); test <- read.csv(file.path(args[1], "test.csv"))
train$sku <- as.numeric(train$sku); test$sku <- as.numeric(test$sku)
started <- proc.time()
model <- gbm(y ~ ., distribution = list(name = "quantile", alpha = 0.5), data = train, n.trees = as.integer(args[2]),
             interaction.depth = 20, n.minobsinnode = 10, shrinkage = 0.05, keep.data = FALSE)
trained <- (proc.time() - started)[["user.self"]]
started <- proc.time()
for (i in 1:3) p <- predict(model, test, n.trees = model$n.trees)
predicted <- (proc.time() - started)[["user.self"]] / 3
dir.create(file.path(args[1], "rds"))
saveRDS(model, file.path(args[1], "rds", "gbm_t1-13_q50.rds"))
write.csv(data.frame(p = sprintf("%.17g", p)), file.path(args[1], "p.csv"), row.names = FALSE, quote = FALSE)
cat(trained, predicted)
"""


def measure_r(folder: Path, quick: bool) -> Line:
    """R's gbm of the reference's size (1,250 trees, depth 20; trained on few rows), its predict alone, and our exact scorer of it."""
    if not shutil.which("Rscript"):
        return {"part": "r", "what": "R's gbm", "skipped": "Rscript is not installed"}
    work = folder / "r"
    work.mkdir()
    columns = write_r_tables(folder / "one", work)
    (work / "gbm.R").write_text(R_SCRIPT)
    done = subprocess.run(
        ["Rscript", str(work / "gbm.R"), str(work), "100" if quick else "1250"],
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD,
    )
    if done.returncode:
        return {"part": "r", "what": "R's gbm", "skipped": done.stderr.strip().splitlines()[-1]}
    trained, predicted = (float(text) for text in done.stdout.split())
    script = HERE.parent / "fleetscore" / "workloads" / "store_sales" / "export_gbm.R"
    subprocess.run(
        ["Rscript", str(script), str(work / "rds"), str(work / "tables")], check=True, capture_output=True
    )
    return {
        "part": "r",
        "rival": "R's predict.gbm",
        **score_as_r(work, columns, predicted),
        "rival_train_cpu_s": trained,
    }


def write_r_tables(folder: Path, work: Path) -> dict[str, Any]:
    """Train and test tables with the reference's features; gives the test columns."""
    import pandas as pd

    data = folder / "data" / "store_sales"
    history = pd.read_parquet(data / "history.parquet")
    features = reference_features(pd.concat([history, pd.read_parquet(data / "future.parquet")]), 1)
    known = reference_features(history.assign(week=history["week"] + 1), 1).merge(
        history[history["week"] == WEEKS - 1][["store", "sku", "sales"]], on=["store", "sku"]
    )
    known["y"] = known.pop("sales").map(math.log)
    names = [n for n in features if n not in ("store", "week")]
    pd.concat([known] * 3)[[*names, "y"]].to_csv(work / "train.csv", index=False)
    test = pd.concat([features] * 13)[names]
    test.to_csv(work / "test.csv", index=False)
    return {name: pd.read_csv(work / "test.csv")[name].to_numpy(float) for name in names}


def score_as_r(work: Path, columns: dict[str, Any], predicted: float) -> Line:
    """Import what R exported, score it, and compare."""
    import numpy as np

    from fleetscore.workloads.store_sales import gbm_import, gbm_model

    model = gbm_model.unpack(gbm_import.import_gbm(work / "tables").files[gbm_model.FILE])
    scorer = gbm_model.make_gbm_scorer(model)
    gbm_model.predict(scorer, 0, {name: values[:10] for name, values in columns.items()})
    ours, scores = fastest(3, lambda: gbm_model.predict(scorer, 0, columns))
    theirs = np.loadtxt(work / "p.csv", skiprows=1)
    return {
        "what": f"R gbm of {len(model.root)} trees, imported, predict alone",
        "operations_per_cpu_s": len(scores) / ours,
        "rival_operations_per_cpu_s": len(scores) / predicted,
        "largest_difference": float(np.abs(scores - theirs).max()),
    }
