"""Stock: counts, facts, the claims of orders, and what each channel may sell. One writer per SKU."""
