"""Texts written to order: an outline first, then its sections, counted, checked and shown as they come."""
