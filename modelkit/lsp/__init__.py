"""The language server: what an editor asks about a Modelfile, answered from the language's own tables.

`server.py`, `features.py` and `serving.py` know the protocol's machinery (pygls). The others take an `Analysis` and an
offset into its text, look at nothing else but the disk's names, and return values of the protocol.
"""
