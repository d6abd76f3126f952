"""Shopify: online store and point of sale, through the Admin GraphQL API and webhooks."""
