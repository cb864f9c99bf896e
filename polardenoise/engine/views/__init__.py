"""Views of one volume: what all images of a half owe to one molecule (docs/templates.rst)."""
