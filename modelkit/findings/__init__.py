"""What `check` finds in a file, whoever finds it: which of it counts, how it is mended, how other programs read it."""
