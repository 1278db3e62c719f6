"""``ntc``: a lossy codec of linear transforms whose coefficients a small integer network codes."""
