"""What editors are given to know Modelfiles by, and the programs that make it from the language's tables."""
