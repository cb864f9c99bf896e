"""Scripts that run in an environment of ASPIRE's own."""
