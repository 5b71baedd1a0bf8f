"""Words to calls; the only room that prints or exits."""
