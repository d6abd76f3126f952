"""The item processor: one record per item with its ids in every channel."""
