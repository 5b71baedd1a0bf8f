"""Programs that run in an engine's container: its own server, with the contract in front. Never imported here."""
