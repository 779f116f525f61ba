"""Model libraries in these tests use one thread: their pools of threads cost more than the small models do."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
