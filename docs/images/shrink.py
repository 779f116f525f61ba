"""Shrink the demo's pictures for README.md: `make images` runs the demo and then this.

Run: python docs/images/shrink.py PICTURES_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
WIDTH = 1000
COLORS = 48


def main(folder: Path) -> None:
    """Write one picture per workload beside this file, 1,000 pixels wide, in 48 colours."""
    for name in ("sensor_anomaly", "store_sales", "server_load"):
        source = max(folder.glob(f"{name}*.png"))
        with Image.open(source) as picture:
            small = picture.convert("RGB").resize(
                (WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS
            )
            small.quantize(COLORS).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
