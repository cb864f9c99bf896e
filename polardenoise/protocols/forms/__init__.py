"""The forms of the larger protocols: what is asked for, in which order, with which help."""
