"""`editgrpo` for processes without a GPU, sharded as the launcher was told.

accelerate turns FSDP and DeepSpeed on for GPUs and their like alone (`AcceleratorState.__init__`):
on a CPU it would train whole copies without a word. This lifts that check and nothing else.
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from editgrpo.cli import main

_INIT = AcceleratorState.__init__


def _init(self: Any, *positional: Any, **keywords: Any) -> None:
    _INIT(self, *positional, **keywords)
    if self.distributed_type != DistributedType.MULTI_CPU:
        return
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        plugin = keywords["fsdp_plugin"]
        if self._mixed_precision != "no":
            plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = plugin
        _set_kind(self, DistributedType.FSDP)
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed

        deepspeed.init_distributed("gloo")
        plugin = keywords["deepspeed_plugin"]
        for one in plugin.values() if isinstance(plugin, dict) else [plugin]:
            one.set_mixed_precision(self._mixed_precision)
        first = next(iter(plugin.values())) if isinstance(plugin, dict) else plugin
        first.select(_from_accelerator_state=True)
        self.deepspeed_plugins = plugin
        self._mixed_precision = "no"
        _set_kind(self, DistributedType.DEEPSPEED)


def _set_kind(state: Any, kind: DistributedType) -> None:
    state.distributed_type = kind
    PartialState._shared_state["distributed_type"] = kind


AcceleratorState.__init__ = _init

if __name__ == "__main__":
    main()
