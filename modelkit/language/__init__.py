"""The Modelfile language: text to checked meaning."""
