"""``ntc`` on a GPU: planes of many chunks at once, by torch and by a kernel for what is serial."""
