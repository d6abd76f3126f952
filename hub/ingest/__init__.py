"""How events come in: the door (webhooks) and the polls. Both append what came, byte for byte, to the raw topics."""
