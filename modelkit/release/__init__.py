"""Promotion: parity and records."""
