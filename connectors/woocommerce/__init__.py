"""WooCommerce: web shop, through REST v3 and webhooks."""
