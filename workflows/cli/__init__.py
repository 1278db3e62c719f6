"""The command line: parse, call the room that does it, print, set the exit code."""
