"""References, the store, model file readers and conversion."""
