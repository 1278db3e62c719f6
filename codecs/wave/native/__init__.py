"""The native kernel of ``wave``: what decodes and predicts planes, in C."""
