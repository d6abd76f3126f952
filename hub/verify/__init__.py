"""`crossdock verify`: recomputes what must hold from the topics alone, with code that shares nothing with the processors."""
