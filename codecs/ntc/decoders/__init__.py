"""Other ways to make samples of the same records of ``ntc``: networks, and a view with noise."""
