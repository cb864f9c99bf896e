"""The protocols that polardenoise offers in Scipion."""
