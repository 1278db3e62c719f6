"""The codec ``wave``: causal prediction by integer linear weights and a small integer network."""
