"""The forms as a newcomer meets them: opened, the input chosen, executed."""
