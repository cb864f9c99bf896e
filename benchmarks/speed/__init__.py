"""The speed tables: attention, polar map, whole sets, beside ASPIRE."""
