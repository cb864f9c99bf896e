"""Large halves as one set: all images of a half are seen through templates of it (docs/templates.rst)."""
