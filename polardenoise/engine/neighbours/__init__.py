"""Search and use of related images: sets, clusters, matches, centring, scores."""
