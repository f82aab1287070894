"""One thread for each test process and for what it starts: two workers with two threads each slow one another down."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, which is later than this
