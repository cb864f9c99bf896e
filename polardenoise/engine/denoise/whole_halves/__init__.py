"""Large halves as one set: all images of a half are seen through what others show (docs/templates.rst)."""
