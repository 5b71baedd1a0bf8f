"""Chat templates: Go's, as Ollama has them, made into Jinja that writes the same prompt; and Jinja rendered at arm's
length. Knows texts and conversations, not Modelfiles.
"""
