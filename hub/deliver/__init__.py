"""How availability goes out: one lane per channel, absolute numbers, a ledger of what was told."""
