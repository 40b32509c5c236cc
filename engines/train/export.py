"""From torch to the ONNX files that are served: a tick at a time, what is remembered goes in and comes out, matrices in eight bits."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines import features
from engines.appearance.config import RefinerConfig
from engines.backends.weights import write_hash
from engines.motion.config import EARS, LIPS, Config
from engines.motion.net import CIRCLE, TOKENS, Denoiser, Ears
from engines.train.pairs import Space

_STEM = 3
_NEVER = -1e4
_STEPS = 127  # of a weight, to either side of zero
_LARGE = 2000  # numbers of a matrix from which on it is kept in eight bits


class EarsTick(nn.Module):
    """`Ears`, a tick at a time: each block keeps its keys and values in a ring of ticks, and the tokens that wait for its look-ahead.

    The ring goes in, and only what is new comes out: the caller lays it over the oldest tick, at `age` modulo the ring.
    """

    def __init__(self, ears: Ears) -> None:
        super().__init__()
        self.ears, self.heads = ears, ears.blocks[0].heads
        self.ring = max(ears.past - 1 + ahead for ahead in ears.look_ahead)  # ticks
        self.stem = nn.ModuleList([_unrolled(layer) for layer in ears.stem])

    @property
    def memory(self) -> tuple[int, int, int, int]:
        """The ring's shape in a conversation: keys and values of each block, heads, tokens, width of a head."""
        return 2 * len(self.ears.blocks), self.heads, TOKENS * self.ring, self.ears.width // self.heads

    @property
    def waiting(self) -> int:
        """Numbers that a conversation keeps beside the ring: frames that the stem reads again, and tokens that wait."""
        return _STEM * features.BANDS + TOKENS * sum(self.ears.look_ahead) * self.ears.width

    def forward(self, mel: Tensor, age: Tensor, waiting: Tensor, *ring: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A tick of B conversations.

        mel (B, 4, 80), age (B,) ticks heard before, waiting (B, N), and of each block keys and values (B, heads, tokens, width) ->
        features (B, 2 * W), waiting after (B, N), new keys and values (B, 2 * blocks, heads, 2, width).
        """
        stem = _STEM * features.BANDS
        frames = torch.cat([waiting[:, :stem].unflatten(1, (_STEM, features.BANDS)), mel], 1)
        x, pending = self._tokens(frames, age), waiting[:, stem:].unflatten(1, (-1, self.ears.width))
        after, new, late = [frames[:, -_STEM:].flatten(1)], [], 0
        for at, (block, ahead) in enumerate(zip(self.ears.blocks, self.ears.look_ahead, strict=True)):
            keys, values = ring[2 * at : 2 * at + 2]
            own = [self._split(part) for part in block.keys(x).chunk(2, -1)]
            new += own
            if ahead:
                queue = torch.cat([pending[:, TOKENS * late : TOKENS * (late + ahead)], x], 1)
                after.append(queue[:, TOKENS:].flatten(1))
                x = queue[:, :TOKENS]
            q = self._split(block.q(block.norm_1(x))) * (self.ears.width // self.heads) ** -0.5
            score = torch.cat([q @ keys.transpose(2, 3), q @ own[0].transpose(2, 3)], -1) + self._mask(age, late, ahead)
            share = score.softmax(-1)
            seen = share[..., :-TOKENS] @ values + share[..., -TOKENS:] @ own[1]
            x = block.onward(x, seen.transpose(1, 2).flatten(2))
            late += ahead
        return self.ears.norm(x).flatten(1), torch.cat(after, 1), torch.stack(new, 1)

    def _tokens(self, frames: Tensor, age: Tensor) -> Tensor:
        """`Ears.tokens` of (B, 7, 80), its convolutions as matrices: quicker where frames are so few."""
        first, second = self.stem
        x = F.gelu(first(torch.cat([frames[:, at : at + 5] for at in range(3)], -1)))
        x = F.gelu(second(torch.stack([x[:, 0:3].flatten(1), x[:, 2:5].flatten(1)], 1)))
        place = (age.long() * TOKENS)[:, None] + torch.arange(TOKENS)
        return x + self.ears.circle[place % CIRCLE]

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, heads, T, W / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _mask(self, age: Tensor, late: int, ahead: int) -> Tensor:
        """(B, 1, 1, tokens + 2), 0 for what a block may see that hears `late` ticks late: not what is too old, or was never heard."""
        place = torch.arange(self.ring)
        now = (age - self.ring * torch.floor(age / self.ring))[:, None]
        ago = torch.cat([now - place + self.ring * (now <= place), torch.zeros_like(now)], 1)  # 1 is the tick before this one
        hidden = (ago > self.ears.past - 1 + ahead) | (ago > age[:, None] - late)
        return (hidden.to(age.dtype) * _NEVER).repeat_interleave(TOKENS, 1)[:, None, None]


def _unrolled(layer: nn.Conv1d) -> nn.Linear:
    """A convolution over time as a matrix over the frames that it reads, one after the other."""
    linear = nn.Linear(layer.in_channels * layer.kernel_size[0], layer.out_channels)
    linear.weight.data, linear.bias.data = layer.weight.data.transpose(1, 2).flatten(1), layer.bias.data
    return linear


class LipsTick(nn.Module):
    """`Denoiser`, a tick at a time, with the motion that its components mean."""

    def __init__(self, net: Denoiser, space: Space) -> None:
        super().__init__()
        self.net = deepcopy(net)
        for layer in self.net.layers:
            layer.memory, layer.near = _Cell(layer.memory), _Taps(layer.near)
        self.register_buffer("mean", torch.tensor(space.mean))
        self.register_buffer("decode", torch.tensor(space.decode))

    def forward(self, heard: Tensor, noisy: Tensor, level: Tensor, who: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Denoiser.forward`, without the ticks' dimension; and motion (B, L * 2), differences from rest in the actor's unit."""
        clean, after = self.net(heard[:, None], noisy[:, None], level, who, hidden)
        return clean[:, 0], self.mean + clean[:, 0] @ self.decode, after


class _Cell(nn.Module):
    """A GRU of one tick, called as torch's: as matrices it is quicker than the backend's own for sequences."""

    def __init__(self, whole: nn.GRU) -> None:
        super().__init__()
        self.given, self.kept = (nn.Linear(whole.hidden_size, 3 * whole.hidden_size) for _ in range(2))
        for linear, kind in ((self.given, "ih"), (self.kept, "hh")):
            linear.weight.data = getattr(whole, f"weight_{kind}_l0").data
            linear.bias.data = getattr(whole, f"bias_{kind}_l0").data

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 1, W) and state (1, B, W), and both after."""
        (reset, update, new), (reset_kept, update_kept, new_kept) = self.given(x[:, 0]).chunk(3, -1), self.kept(state[0]).chunk(3, -1)
        update = (update + update_kept).sigmoid()
        after = (1 - update) * (new + (reset + reset_kept).sigmoid() * new_kept).tanh() + update * state[0]
        return after[:, None], after[None]


class _Taps(nn.Module):
    """A convolution of each channel over as many ticks as it reads.

    Tick for tick: OpenVINO 2026.4 goes wrong in a product summed over the transposed axis where there is more than one conversation.
    """

    def __init__(self, whole: nn.Conv1d) -> None:
        super().__init__()
        self.taps, self.bias = nn.ParameterList(whole.weight[:, 0].detach().unbind(-1)), whole.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, taps) -> (B, W, 1)."""
        return sum((x[..., at] * tap for at, tap in enumerate(self.taps)), self.bias)[..., None]


def export(
    ears: Ears, net: Denoiser, space: Space, usual: NDArray[np.float32], out: Path, *, steps: int, temperature: float, training: str
) -> Config:  # fmt: skip
    """Write both files, of the nets `rounded`, with their configuration inside, and their hashes."""
    tick, lips = EarsTick(rounded(ears)).eval(), LipsTick(rounded(net), space).eval()
    config = Config(
        look_ahead=sum(ears.look_ahead), memory=tick.memory, waiting=tick.waiting, heard=TOKENS * ears.width, components=net.motion,
        hidden=net.hidden, steps=steps, usual=tuple(round(float(part), 5) for part in usual.ravel()), temperature=temperature,
        training=training,
    )  # fmt: skip
    two = torch.zeros(2)
    inputs = {"mel": torch.zeros(2, features.FRAMES, features.BANDS), "age": two, "waiting": torch.zeros(2, tick.waiting)}
    ring = {name: torch.zeros(2, *tick.memory[1:]) for name in config.ring}
    write(tick, inputs | ring, ["heard", "waiting_after", "new"], out / EARS, config)
    inputs = {"heard": torch.zeros(2, config.heard), "noisy": torch.zeros(2, net.motion), "level": two, "who": torch.zeros(2, net.who)}
    write(lips, inputs | {"hidden": torch.zeros(2, net.hidden)}, ["clean", "motion", "hidden_after"], out / LIPS, config)
    return config


Net = TypeVar("Net", bound=nn.Module)


def rounded(net: Net) -> Net:
    """A copy whose large matrices eight bits can hold: the weights of each output are whole steps, 127 to its greatest.

    A tick multiplies each weight once or twice, so that it waits for memory: a quarter of the bytes is half of the time.
    """
    net = deepcopy(net)
    for weight in net.parameters():
        if weight.dim() > 1 and weight.numel() >= _LARGE:
            rows = weight.data.flatten(1)
            step = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / _STEPS
            weight.data = ((rows / step).round() * step).view_as(weight)
    return net


def _pack(model: onnx.ModelProto) -> None:
    """Keep the matrices that eight bits can hold so; nothing is lost. The backend multiplies by them in float32."""
    columns = {node.input[1]: _by_column(node) for node in model.graph.node if node.op_type in ("MatMul", "Gemm")}
    for given in [given for given in model.graph.initializer if given.name in columns]:
        matrix = onnx.numpy_helper.to_array(given)
        axis = 1 if columns[given.name] else 0
        step = np.maximum(np.abs(matrix).max(1 - axis), 1e-12).astype(np.float32) / _STEPS
        whole = matrix / np.expand_dims(step, 1 - axis)
        if matrix.size < _LARGE or np.abs(whole - whole.round()).max() > 1e-3:
            continue
        model.graph.initializer.remove(given)
        parts = {"steps": whole.round().astype(np.int8), "step": step, "zero": np.zeros(len(step), np.int8)}
        names = {part: f"{given.name}.{part}" for part in parts}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(value, names[part]) for part, value in parts.items())
        model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", list(names.values()), [given.name], axis=axis))


def _by_column(node: onnx.NodeProto) -> bool:
    """Whether the outputs are the columns of a node's matrix."""
    return not any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def write(net: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, config: Config | RefinerConfig) -> None:
    """One ONNX file, any number of conversations; its hash goes into `hashes.json` beside it."""
    partial = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, tuple(inputs.values()), str(partial), input_names=list(inputs), output_names=outputs, dynamo=False, opset_version=17,
            dynamic_axes={name: {0: "conversations"} for name in (*inputs, *outputs)},
        )  # fmt: skip
    model = onnx.load(str(partial))
    _pack(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = config.metadata()
    onnx.save(model, str(partial))
    partial.replace(path)
    write_hash(path)
