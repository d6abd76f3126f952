"""The query API over the SQL store."""
