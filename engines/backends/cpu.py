"""The backend `cpu`: ONNX, or a net in OpenVINO's own form, through OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.backends import Net
from engines.errors import WeightsFault

Array = NDArray[np.float32]


class CpuNet(Net):
    """A net on the CPU. One thread by default: a tick's net is too small to share.

    `model` is an ONNX file, or OpenVINO's .xml with its .bin as `weights`. In float32; `half` allows bfloat16 where the processor has
    it: twice as fast, for pictures exact enough.
    """

    def __init__(self, model: bytes, weights: bytes = b"", *, threads: int = 1, half: bool = False) -> None:
        import openvino

        core = openvino.Core()
        options: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        if not half:  # where a processor has bfloat16 that is OpenVINO's default
            options["INFERENCE_PRECISION_HINT"] = "f32"
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0  # weights may have eight bits, what they multiply has not
        try:
            read = core.read_model(model, weights)
            self._compiled = core.compile_model(read, "CPU", options)
        except RuntimeError as error:
            raise WeightsFault(f"OpenVINO cannot read the net ({str(error).splitlines()[0]}).", "Install mytalk-live again.") from error
        info = read.get_rt_info() if "framework" not in read.get_rt_info() else read.get_rt_info()["framework"]
        self.metadata = {str(key): str(value.astype(str) if hasattr(value, "astype") else value) for key, value in dict(info).items()}
        """The strings that the file carries."""
        self._request = self._compiled.create_infer_request()
        self._outputs = [(name, port) for port in self._compiled.outputs for name in port.get_names()]  # one may have several

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Net.run`. Inputs are read where they lie, if they are float32 and contiguous."""
        self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: self._request.get_tensor(port).data.copy() for name, port in self._outputs}
