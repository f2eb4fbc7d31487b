"""Robustness of task models beside their accuracy."""
