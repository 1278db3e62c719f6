"""``mlp``: a lossy codec of blocks that go through the hidden units of a small network."""
