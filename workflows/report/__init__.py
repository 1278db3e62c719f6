"""What a run tells: on the terminal, as events, in the report."""
