"""The order processor: one writer per order, which states what it wants of each SKU and listens to what stock answers."""
