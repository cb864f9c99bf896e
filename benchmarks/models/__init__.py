"""Training, packing and shipping of models."""
