"""Commands of the engine as forks of a process that has its libraries: what tests of the plugin reach it by."""
