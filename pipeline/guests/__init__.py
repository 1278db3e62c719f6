"""Child processes that parse and decode foreign files under limits: guests of this process."""
