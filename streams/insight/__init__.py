"""Figures, not truths: the one place where Faust runs. Nothing here decides about goods, money or identity."""
