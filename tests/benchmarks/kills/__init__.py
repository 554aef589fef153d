"""Kills at random moments under writers, and what the next open finds."""
