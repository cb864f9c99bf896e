"""Search and use of related images: sets, clusters, matches, classes, centring, scores."""
