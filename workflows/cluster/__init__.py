"""Where tasks run: in this process, on this machine, on a scheduler, as jobs."""
