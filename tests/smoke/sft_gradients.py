"""`editgrpo sft` that also writes the gradient of its first step, summed up and not yet clipped.

Run as a script, it is the command line of one of several processes; the gradient's file is the
environment's GRADIENTS.
"""

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import save_file
from transformers import Trainer

from editgrpo.config import SFTConfig
from editgrpo.recipes import load_recipe
from editgrpo.training.sft import run_sft


def run_and_keep_gradients(config: SFTConfig, path: Path) -> None:
    """Fine-tune, and write the gradient that the first step's passes of all processes gave."""
    stock = Trainer._clip_grad_norm

    def keep(self: Any, model: Any) -> Any:
        if self.state.global_step == 0 and self.accelerator.is_main_process:
            policy = self.accelerator.unwrap_model(model)
            named = {n: p.grad for n, p in policy.named_parameters() if p.grad is not None}
            save_file({name: gradient.contiguous() for name, gradient in named.items()}, path)
        return stock(self, model)

    with patch.object(Trainer, "_clip_grad_norm", keep):
        run_sft(config)


if __name__ == "__main__":
    run_and_keep_gradients(load_recipe(Path(sys.argv[1]), SFTConfig), Path(os.environ["GRADIENTS"]))
