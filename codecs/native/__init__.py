"""The compiled library: its door, and what its sources share."""
