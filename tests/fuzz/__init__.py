"""Inputs that nobody wrote: what the program must make of them is an exit code and one line."""
