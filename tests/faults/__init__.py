"""What a system does to a run: disks that fill, files that vanish, readers that go, kills; and what comes back."""
