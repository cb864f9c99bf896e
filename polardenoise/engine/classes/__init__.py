"""2D classes of the images of a half: which belong together, their averages, their twins in the other half."""
