"""From a checked Modelfile and facts to a plan for one stage."""
