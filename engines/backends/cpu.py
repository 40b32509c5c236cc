"""The backend `cpu`: ONNX, or a net in OpenVINO's own form, through OpenVINO."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends import Net
from engines.errors import WeightsFault
from native.kept import cache_folder, keep, kept

Array = NDArray[np.float32]
log = logging.getLogger(__name__)


class CpuNet(Net):
    """A net on the CPU. One thread by default: a tick's net is too small to share.

    `model` is an ONNX file, or OpenVINO's .xml with its .bin as `weights`. In float32; `half` allows bfloat16 where the processor has
    it: twice as fast, for pictures exact enough. What OpenVINO makes of a net in its own form, which takes longer to be made than to be
    read, is kept in the user's cache folder, if that can be written; it gives the same numbers.
    """

    def __init__(self, model: bytes, weights: bytes = b"", *, threads: int = 1, half: bool = False) -> None:
        import openvino

        core = openvino.Core()
        options: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        if not half:  # where a processor has bfloat16 that is OpenVINO's default
            options["INFERENCE_PRECISION_HINT"] = "f32"
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0  # weights may have eight bits, what they multiply has not
        self.metadata = {}
        """The strings that an ONNX file carries."""
        try:
            if weights:
                self._compiled = _compiled(core, model, weights, options)
            else:
                read = core.read_model(model)
                self._compiled = core.compile_model(read, "CPU", options)
                info = read.get_rt_info() if "framework" not in read.get_rt_info() else read.get_rt_info()["framework"]
                self.metadata = {
                    str(key): str(value.astype(str) if hasattr(value, "astype") else value) for key, value in dict(info).items()
                }
        except RuntimeError as error:
            raise WeightsFault(f"OpenVINO cannot read the net ({str(error).splitlines()[0]}).", "Install mytalk-live again.") from error
        self._request = self._compiled.create_infer_request()
        self._outputs = [(name, port) for port in self._compiled.outputs for name in port.get_names()]  # one may have several

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Net.run`. Inputs are read where they lie, if they are float32 and contiguous."""
        self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: self._request.get_tensor(port).data.copy() for name, port in self._outputs}


def _compiled(core: Any, model: bytes, weights: bytes, options: Mapping[str, object]) -> Any:
    """A net in OpenVINO's own form, ready to run: as it was kept by this version for this processor, or made now and kept."""
    import openvino

    machine = (core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    told = repr((openvino.get_version(), *machine, sorted(options.items()))).encode()
    place = cache_folder("nets") / f"{hashlib.sha256(b''.join([told, model, weights])).hexdigest()[:24]}.blob"
    try:
        if (ready := _read(place)) is not None:
            return core.import_model(io.BytesIO(ready), "CPU", options)
    except RuntimeError as error:
        log.debug("%s is made anew: %s", place, error)
    made = core.compile_model(core.read_model(model, weights), "CPU", options)
    try:
        keep(place, made.export_model().getvalue())
    except OSError as error:
        log.debug("%s cannot be kept: %s", place, error)
    return made


def _read(place: Path) -> bytes | None:
    try:
        return kept(place)
    except OSError:  # somebody else's
        return None
