"""Fixtures of the tests of the demo: the network and the runs made very small."""

import os

# Two cores serve many tests; a model this small gains nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
