"""SQL projections of the unified topics. Everything here can be rebuilt from the topics."""
