"""``wave`` on a CUDA device: planes of a batch side by side, byte for byte as on the CPU."""
