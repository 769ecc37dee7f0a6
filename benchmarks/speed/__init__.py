"""How fast and how large is it?"""
