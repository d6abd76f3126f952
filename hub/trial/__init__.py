"""`crossdock try`: a file of records through the processors in memory. The contract is docs/reference/try.md."""
