"""The native kernel of ``mlp``: what codes hidden units, in C."""
