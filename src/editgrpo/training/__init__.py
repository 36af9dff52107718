"""SFT and EditGRPO training."""

import os

# TRL reports its use to the Hub unless told not to. Runs on protected data report nothing to
# anyone.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
