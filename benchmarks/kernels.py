"""Kernels on a card: time, the least that moving the bytes would take, and the same work in torch operations.

    python -m benchmarks.kernels [--batch 64] [--rounds 200]

Runs from a checkout with nothing installed but a CUDA build of torch (which brings CUDA's bindings and NVRTC) and numpy. Inputs are
random, from `timed` in `native/*/cases.py`; pictures are 512x512. Floor: the bytes that must move at least (`Case.bytes`) at the speed of a
copy on the card, measured in the same run. Torch is given the dense sampling grid and the mask for nothing: it has no operation that
rasterises a mesh. Before it is timed, what torch makes is compared with what the kernels make. Without a card: one sentence, exit
code 2. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from native.case import Case
from native.composite import cuda as composite
from native.copy import cuda as copy
from native.cuda.compile import CompileError
from native.cuda.device import Card, CardError
from native.cuda.launch import ABOUT, launch
from native.interior import cuda as interior
from native.sharpen import cuda as sharpen
from native.warp import cuda as warp

WARM = 20
COPIED = 1 << 30


@dataclass(frozen=True)
class Bench:
    """An operator's batch on the card."""

    case: Case
    sessions: Any
    """Descriptors on the host."""
    there: Any
    """The same on the card."""
    made: Any
    """What the kernels make, all sessions'."""
    keep: list[Any]
    """All else that the descriptors point at."""


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=64, help="sessions in a launch")
    parser.add_argument("--rounds", type=int, default=200, help="launches that are timed")
    options = parser.parse_args()
    try:
        import torch

        if not torch.cuda.is_available():
            raise CardError("torch finds no NVIDIA card here")
        torch.cuda.init()
        with tempfile.TemporaryDirectory() as cache:
            report(torch, Card(torch.cuda.current_stream().cuda_stream, cache=Path(cache)), options.batch, options.rounds)
    except (ImportError, CardError, CompileError) as error:
        print(
            f"The kernels cannot be measured: {str(error).rstrip('.')}. On a machine with an NVIDIA card: pip install torch",
            file=sys.stderr,
        )
        sys.exit(2)


def report(torch: Any, card: Card, batch: int, rounds: int) -> None:
    """Measure, and print the table."""
    print(f"{card.name}, {card.architecture}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(f"driver, clocks of processors and memory before: {smi()}")
    ceiling = bandwidth(torch)
    print(f"copy on the card: {ceiling:.0f} GB/s, read and write together (1 GiB, median of 50)\n")
    print("| operator | batch | median, ms | p99, ms | bytes at least | floor, ms | torch, ms | torch / ours | apart, mean / worst |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = {}
    for operator in ABOUT:
        case = importlib.import_module(f"native.{operator}.cases").timed(np.random.default_rng(1))
        bench = PREPARED[operator](torch, case, batch)
        kernels, sessions, address = card.kernels(operator), bench.sessions, bench.there.data_ptr()
        launch(operator, kernels, sessions, address)
        theirs, apart = "", ""
        if operator in IN_TORCH:
            work = IN_TORCH[operator](torch, case, batch)
            difference = (work().float().round() - seen(torch, operator, bench.made)).abs()
            if difference.mean() > 1:
                raise CardError(
                    f"{operator} makes something else on this card than torch: {difference.mean().item():.2f} of 255 in the mean"
                )
            apart = f"{difference.mean().item():.2f} / {difference.max().item():.0f}"
            theirs, _ = milliseconds(torch, work, max(rounds // 4, 10))
            del work
        took, late = milliseconds(torch, lambda o=operator, k=kernels, s=sessions, a=address: launch(o, k, s, a), rounds)
        floor = case.bytes * batch / ceiling / 1e6
        rows[operator] = {"ms": took, "p99_ms": late, "floor_ms": floor, "torch_ms": theirs or None}
        ratio = f"{theirs:.3f} | {theirs / took:.1f}" if theirs else "- | -"
        moved = f"{case.bytes * batch / 1e6:.0f} MB | {floor:.3f}"
        print(f"| {operator}, {case.name} | {batch} | {took:.3f} | {late:.3f} | {moved} | {ratio} | {apart or '-'} |")
        del bench
        torch.cuda.empty_cache()
    print(f"\nafter: {smi()}")
    print(json.dumps({"card": card.name, "copy_gb_s": ceiling, "batch": batch, "operators": rows}))


def bandwidth(torch: Any) -> float:
    """GB/s, read and written, of a copy on the card."""
    source, target = (torch.empty(COPIED, dtype=torch.uint8, device="cuda") for _ in range(2))
    took, _ = milliseconds(torch, lambda: target.copy_(source), 50)
    return 2 * COPIED / took / 1e6


def milliseconds(torch: Any, work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median and 99th percentile on the card's own clock, after a warm-up."""
    for _ in range(WARM):
        work()
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for begin, end in marks:
        begin.record()
        work()
        end.record()
    torch.cuda.synchronize()
    took = [begin.elapsed_time(end) for begin, end in marks]
    return float(np.median(took)), float(np.percentile(took, 99))


def smi() -> str:
    """Driver and clocks."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.mem", "--format=csv,noheader", "--id=0"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown (no nvidia-smi)"


def placed(torch: Any, sessions: Any, **arrays: Any) -> list[Any]:
    """Arrays with a first axis of sessions, or one for all of them, put on the card and into the descriptors."""
    there = []
    for name, array in arrays.items():
        signed = array.view(array.dtype.str.replace("u", "i")) if array.dtype.itemsize > 1 else array  # torch counts with a sign
        tensor = torch.from_numpy(np.ascontiguousarray(signed)).cuda()
        there.append(tensor)
        step = tensor[0].nbytes if len(tensor) == len(sessions) else 0
        sessions[name] = tensor.data_ptr() + step * np.arange(len(sessions), dtype=np.uint64)
    return there


def on_card(torch: Any, case: Case, sessions: Any, keep: list[Any], made: Any) -> Bench:
    """With the descriptors copied."""
    there = torch.from_numpy(sessions.view(np.uint8).reshape(-1).copy()).cuda()
    return Bench(case, sessions, there, made, keep)


def bytes_of(patch: Any, batch: int) -> Any:
    """(batch, h, w) a patch's colours, four bytes a pixel."""
    four = np.dstack([patch, np.zeros(patch.shape[:2], np.uint8)])
    return np.repeat(four.view(np.uint32)[None, ..., 0], batch, 0)


def prepare_warp(torch: Any, case: Case, batch: int) -> Bench:
    """Each session has pictures of its own."""
    a, sessions = case.arguments, np.zeros(batch, warp.DESCRIPTOR)
    count, (height, width) = len(a["pictures"]), a["size"]
    pictures = np.stack([bytes_of(picture, batch) for picture in a["pictures"]], 1)
    mesh = {name: a[name][None] for name in ("weights", "sources", "target", "triangles", "values")}
    keep = placed(torch, sessions, pictures=pictures, **mesh)
    made = placed(torch, sessions, colours=np.zeros((batch, height, width), np.uint32))[0]
    keep += placed(torch, sessions, mask=np.zeros((batch, height, width), np.uint32))
    for name, value in {
        "stored": count, "count": count, "height_in": pictures.shape[2], "width_in": pictures.shape[3], "vertices": len(a["target"]),
        "faces": len(a["triangles"]), "channels": a["values"].shape[1], "height": height, "width": width,
    }.items():  # fmt: skip
        sessions[name] = value
    warp.cells(sessions)
    scratch = {name: int(size[0]) for name, size in warp.extents(sessions).items() if name in ("edges", "bins", "field")}
    keep += placed(torch, sessions, **{name: np.zeros((batch, size), np.uint8) for name, size in scratch.items()})
    return on_card(torch, case, sessions, keep, made)


def prepare_sharpen(torch: Any, case: Case, batch: int) -> Bench:
    """What is made is the patch itself: from the second launch on it is sharpened again, which costs the same."""
    a, sessions = case.arguments, np.zeros(batch, sharpen.DESCRIPTOR)
    sessions["h"], sessions["w"] = h, w = a["patch"].shape[:2]
    sessions["top"], sessions["bottom"], sessions["left"], sessions["right"] = a["box"]
    for name in ("wanted", "before", "quick"):
        sessions[name] = a[name]
    sharpen.blur(sessions, np.full(batch, a["sigma"]))
    scratch = {"across": np.zeros((batch, h, w), np.uint64), "soft": np.zeros((batch, h, w), np.uint32)}
    sums = {"sums": np.zeros((batch, 5, sharpen.PARTS), np.int64), "amount": np.zeros((batch, 1), np.float32)}
    keep = placed(torch, sessions, **scratch, **sums)
    made = placed(torch, sessions, colours=bytes_of(a["patch"], batch))[0]
    return on_card(torch, case, sessions, keep, made)


def prepare_interior(torch: Any, case: Case, batch: int) -> Bench:
    """As `prepare_sharpen`."""
    a, sessions = case.arguments, np.zeros(batch, interior.DESCRIPTOR)
    sessions["h"], sessions["w"] = a["patch"].shape[:2]
    sessions["x"], sessions["y"] = a["corner"]
    sessions["rows"], sessions["columns"] = a["size"]
    sessions["samples"] = a["profile"].shape[1]
    for name in ("place", "light", "unit", "soft", "share"):
        sessions[name] = a[name]
    keep = placed(torch, sessions, profile=a["profile"][None])
    made = placed(torch, sessions, colours=bytes_of(a["patch"], batch))[0]
    return on_card(torch, case, sessions, keep, made)


def prepare_composite(torch: Any, case: Case, batch: int) -> Bench:
    """Each session has a frame and a patch of its own."""
    a, sessions = case.arguments, np.zeros(batch, composite.DESCRIPTOR)
    frames, (h, w) = np.repeat(a["frame"][None], batch, 0), a["alpha"].shape
    sessions["height"], sessions["width"] = len(a["frame"]) * 2 // 3, a["frame"].shape[1]
    sessions["x"], sessions["y"] = a["corner"]
    sessions["h"], sessions["w"] = h, w
    sessions["strength"] = 1
    composite.field(sessions, np.full(batch, a["shade"]))
    cells = np.zeros((batch, int(sessions["rows"][0]), int(sessions["columns"][0]), 4), np.float32)
    mask = np.repeat(np.stack([a["alpha"], a["ring"]], -1).astype(np.float16).view(np.uint32)[None, ..., 0], batch, 0)
    patch = {"colours": bytes_of(a["patch"], batch), "mask": mask}
    keep = placed(torch, sessions, frame=frames, **patch, small=cells, spread=cells.copy())
    made = placed(torch, sessions, out=np.zeros_like(frames))[0]
    return on_card(torch, case, sessions, keep, made)


def prepare_copy(torch: Any, case: Case, batch: int) -> Bench:
    """Each session has bytes of its own."""
    a, sessions = case.arguments, np.zeros(batch, copy.DESCRIPTOR)
    for name in ("lines", "length", "from_step", "to_step"):
        sessions[name] = a[name]
    keep = placed(torch, sessions, source=np.repeat(a["source"][None], batch, 0))
    made = placed(torch, sessions, target=np.repeat(a["target"][None], batch, 0))[0]
    return on_card(torch, case, sessions, keep, made)


def seen(torch: Any, operator: str, made: Any) -> Any:
    """The part of what the kernels make that torch makes too."""
    return made[..., None].view(torch.uint8)[..., :3].float() if operator == "warp" else made.float()


def torch_warp(torch: Any, case: Case, batch: int) -> Callable[[], Any]:
    """grid_sample of each picture, blend, layout of eight halves a pixel. In float32: a grid of halves would be 0.25 pixels off."""
    a, (height, width) = case.arguments, case.arguments["size"]
    pictures = torch.from_numpy(np.stack(a["pictures"])).cuda().permute(0, 3, 1, 2).float()
    count, (h, w) = len(pictures), pictures.shape[2:]
    pictures = pictures.repeat(batch, 1, 1, 1)
    fields = np.concatenate([*a["sources"], a["values"]], 1)
    dense = torch.from_numpy(interpolated(a["target"], a["triangles"], fields, (height, width))).cuda()
    places = torch.stack([dense[..., 2 * k : 2 * k + 2] for k in range(count)])
    scale = torch.tensor([2 / w, 2 / h], device="cuda")
    grid = ((places + 0.5) * scale - 1).repeat(batch, 1, 1, 1)
    values = dense[..., 2 * count :].half().permute(2, 0, 1).expand(batch, -1, -1, -1)
    weights = torch.from_numpy(a["weights"]).cuda().view(1, count, 1, 1, 1)
    rest = torch.zeros(batch, 3, height, width, dtype=torch.half, device="cuda")

    def work() -> Any:
        sampled = torch.nn.functional.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=False)
        blended = (sampled.clamp(0, 255).view(batch, count, 3, height, width) * weights).sum(1)
        return torch.cat([blended.half(), values, rest], 1).permute(0, 2, 3, 1).contiguous()[..., :3]

    return work


def interpolated(target: Any, triangles: Any, values: Any, size: tuple[int, int]) -> Any:
    """Values at a mesh's vertices at every pixel, (height, width, C) float32, on the CPU."""
    out = np.zeros((*size, values.shape[1]), np.float32)
    for a, b, c in triangles:
        corners = target[[a, b, c]]
        low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        (ux, uy), (vx, vy) = corners[1] - corners[0], corners[2] - corners[0]
        dx, dy = x - corners[0, 0], y - corners[0, 1]
        u, v = (dx * vy - dy * vx) / (ux * vy - uy * vx), (dy * ux - dx * uy) / (ux * vy - uy * vx)
        inside = (u >= -1e-5) & (v >= -1e-5) & (u + v <= 1 + 1e-5)
        shares = np.stack([1 - u - v, u, v], -1)[inside]
        out[y[inside], x[inside]] = shares @ values[[a, b, c]]
    return out


def torch_composite(torch: Any, case: Case, batch: int) -> Callable[[], Any]:
    """YUV to RGB, colour field, blend, RGB to YUV, in float32, as one would write it."""
    a, f = case.arguments, torch.nn.functional
    height, width = len(a["frame"]) * 2 // 3, a["frame"].shape[1]
    if a["alpha"].shape != (height, width):
        raise ValueError("the patch must cover the frame")
    frames = torch.from_numpy(a["frame"]).cuda().repeat(batch, 1, 1).view(batch, -1)
    patch = torch.from_numpy(a["patch"]).cuda().permute(2, 0, 1).half().repeat(batch, 1, 1, 1)
    alpha, ring = (torch.from_numpy(a[name]).cuda().half().repeat(batch, 1, 1, 1) for name in ("alpha", "ring"))
    alone = np.zeros(1, composite.DESCRIPTOR)
    alone["h"], alone["w"] = height, width
    composite.field(alone, np.array([a["shade"]]))
    row = alone[0]
    reach = int(4 * row["sigma"] + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device="cuda") / float(row["sigma"])) ** 2)
    taps = (taps / taps.sum()).view(1, 1, -1, 1).repeat(4, 1, 1, 1)
    back = torch.tensor([[1.1644, 0, 1.596], [1.1644, -0.3918, -0.813], [1.1644, 2.0172, 0]], device="cuda")
    forth = torch.tensor([[0.257, 0.504, 0.098], [-0.148, -0.291, 0.439], [0.439, -0.368, -0.071]], device="cuda")
    luma, quarter = height * width, height * width // 4
    shift, offset = (torch.tensor(three, device="cuda").view(1, 3, 1, 1) for three in ([16.0, 128.0, 128.0], [16.5, 128.5, 128.5]))

    def work() -> Any:
        y = frames[:, :luma].view(batch, 1, height, width).float()
        chroma = frames[:, luma:].view(batch, 2, height // 2, width // 2).float()
        yuv = torch.cat([y, f.interpolate(chroma, scale_factor=2, mode="nearest")], 1) - shift
        under = torch.einsum("ij,bjhw->bihw", back, yuv).clamp(0, 255)
        difference = under - patch
        weight = ring / (1 + difference.square().mean(1, keepdim=True) / float(row["outlier"]) ** 2)
        cells = f.interpolate(torch.cat([difference * weight, weight], 1), size=(int(row["rows"]), int(row["columns"])), mode="area")
        spread = f.conv2d(f.conv2d(cells, taps, padding=(reach, 0), groups=4), taps.transpose(2, 3), padding=(0, reach), groups=4)
        field = f.interpolate(spread[:, :3] / spread[:, 3:].clamp(min=1e-4), size=(height, width), mode="bilinear")
        mixed = (under + alpha * (patch + field - under)).clamp(0, 255)
        made = torch.einsum("ij,bjhw->bihw", forth, mixed) + offset
        touched = alpha > 0
        blocks = f.max_pool2d(alpha, 2) > 0
        bright = torch.where(touched, made[:, :1], y).to(torch.uint8).view(batch, -1)
        colour = torch.where(blocks, made[:, 1:, ::2, ::2], chroma).to(torch.uint8).reshape(batch, 2 * quarter)
        return torch.cat([bright, colour], 1).view(batch, height * 3 // 2, width)

    return work


PREPARED = {
    "warp": prepare_warp, "sharpen": prepare_sharpen, "interior": prepare_interior, "composite": prepare_composite, "copy": prepare_copy,
}  # fmt: skip
IN_TORCH = {"warp": torch_warp, "composite": torch_composite}


if __name__ == "__main__":
    main()
