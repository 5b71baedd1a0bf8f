"""One file a command, each with `run(arguments, terminal) -> exit code`."""
