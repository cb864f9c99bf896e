"""Services that all rooms share: files, devices, processes, progress, errors."""
