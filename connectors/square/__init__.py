"""Square: point of sale, through its REST API and webhooks."""
