"""Where training runs: on the GPU where PyTorch finds one, else on the CPU; in bfloat16 where that is safe."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

KIND = "cuda" if torch.cuda.is_available() else "cpu"
HALF = KIND == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def use() -> None:
    """Let all tensors and nets made from now on lie there."""
    if KIND != "cpu":  # every call costs more under it
        torch.set_default_device(KIND)


def half() -> Any:
    """A context in which matrices multiply in bfloat16, where the processor does: elsewhere that is ten times slower than float32."""
    return torch.autocast(KIND, torch.bfloat16) if HALF else nullcontext()


def array(tensor: Tensor) -> Any:
    """A tensor as a numpy array, in float32."""
    return tensor.detach().float().cpu().numpy()
