"""Stores written as volumes of the formats that neuroimaging and ITK read."""
