"""The parts of `check`: each reads one shape of the Document and reports what is wrong with it."""
