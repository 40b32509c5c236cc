"""CUDA: one source per operator (`warp/cuda.cu`, `composite/cuda.cu`), compiled for a card by NVRTC or for the host by C++."""
