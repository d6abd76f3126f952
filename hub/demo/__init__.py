"""The hub on this machine with simulated shops."""
