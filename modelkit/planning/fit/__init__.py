"""Will it fit, how fast will it be, and which precision is the best that does: formulas over facts, nothing else."""
