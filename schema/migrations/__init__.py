"""Migrations of foundry.schema, applied in the order of their numbers."""
