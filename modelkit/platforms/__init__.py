"""One file per platform that keeps an engine running."""
