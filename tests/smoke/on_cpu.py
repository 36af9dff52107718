"""`editgrpo` for processes without a GPU, sharded as the launcher was told.

accelerate turns FSDP on for GPUs and their like alone (`AcceleratorState.__init__`): on a CPU it
would train whole copies without a word. This lifts that check, and opens DeepSpeed's communication.
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from editgrpo.cli import main

_INIT = AcceleratorState.__init__


def _init(self: Any, *positional: Any, **keywords: Any) -> None:
    _INIT(self, *positional, **keywords)
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed

        deepspeed.init_distributed("gloo")  # accelerate does it where there are GPUs
    if self.distributed_type == DistributedType.MULTI_CPU and (
        os.environ.get("ACCELERATE_USE_FSDP") == "true"
    ):
        plugin = keywords["fsdp_plugin"]
        if self._mixed_precision != "no":
            plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = plugin
        self.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


AcceleratorState.__init__ = _init

if __name__ == "__main__":
    main()
