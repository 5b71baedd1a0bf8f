"""One file per engine: its settings, flags, environment and failure texts."""
