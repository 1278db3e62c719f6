"""The native kernel of ``ntc``: what transforms and codes planes, in C."""
