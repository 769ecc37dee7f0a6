"""How accurate is it, on which images, and what changes that?"""
