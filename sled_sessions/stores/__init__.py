"""Stores: where records live, and how the expired ones leave."""
