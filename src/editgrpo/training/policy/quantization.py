"""QLoRA (arXiv:2305.14314): the frozen matrices of the language model in 4 bits, under adapters.

bitsandbytes quantises and computes, transformers puts its layers in; here is what is quantised, and
what a run that samples, trains and is merged needs besides.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from editgrpo.errors import ModelError
from editgrpo.extras import Extra, require_extras
from editgrpo.foreign import reading
from editgrpo.model_files import CONFIG
from editgrpo.training.policy.positions import language_model_name


def nf4(folder: Path, *, compute: torch.dtype) -> Any:
    """Say how the language model of a folder is quantised.

    Args:
        folder: Of the model.
        compute: Number format in which the matrices are multiplied.

    Returns:
        transformers' configuration: NF4 in blocks of 64, the constants of the blocks quantised
        again; vision tower, embedding and head stay as they are.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
        ModelError: the configuration of the model cannot be read.
    """
    require_extras(Extra.EIGHT_BIT, what="model.lora.quantization=nf4")
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    remedy = "give the folder of a complete checkpoint"
    with (
        reading(f"{folder / CONFIG}", remedy, error=ModelError),
        torch.random.fork_rng(devices=[]),
        torch.device("meta"),
    ):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    # Adapters are in the language model only, and so is what they lie on.
    text_layers = language_model_name(network)
    kept = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and text_layers not in name
    ]
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=torch.uint8,
        llm_int8_skip_modules=kept,
    )


def keep_layout(model: Any) -> None:
    """Keep quantised matrices in the layout that gradients pass through.

    On a CPU with AVX512 bitsandbytes 0.50 packs them anew in the first evaluation pass, for speed,
    and a run that samples before it trains then has no gradient.

    Args:
        model: Any; one without quantised matrices stays as it is.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def adapters_in_float32(model: Any) -> None:
    """Give adapters on quantised matrices float32 numbers.

    TRL makes them bfloat16, as the paper has them; at a learning rate of 1e-5 AdamW's updates would
    vanish in its eight significant bits.

    Args:
        model: Any; one without quantised matrices stays as it is.
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def dequantized(model: Any) -> Any:
    """Put adapters on the numbers that their quantised matrices stand for.

    To merge an adapter into 4 bits would round it away; to merge it into the matrices that were
    quantised would give another policy than the one that was trained.

    Args:
        model: A PEFT model, which is used up.

    Returns:
        A PEFT model without quantised matrices; the same if there are none.
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        return model
    import peft

    adapters, config = peft.get_peft_model_state_dict(model), model.peft_config["default"]
    base = model.unload().dequantize()
    again = peft.get_peft_model(base, config)
    peft.set_peft_model_state_dict(again, adapters)
    return again
