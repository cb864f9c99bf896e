"""Outputs of the commands as they were before the engine was sorted into rooms: kept until the whole house is done."""
