"""Shrink the demo's pictures for README.md: `make images` runs the demo and then this.

Run: python docs/images/shrink.py PICTURES_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
WIDTH = 1000
COLORS = 96


def main(folder: Path) -> None:
    """Write one picture per workload beside this file, 1,000 pixels wide, in 96 colours, rare ones such as the marks among them."""
    for name in ("sensor_anomaly", "store_sales", "server_load"):
        source = max(folder.glob(f"{name}*.png"))
        with Image.open(source) as picture:
            small = picture.convert("RGB").resize(
                (WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS
            )
            small.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
