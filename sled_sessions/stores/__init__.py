"""Stores: where records are kept, and how expired ones are removed. `protocol.py` says what a store does."""
