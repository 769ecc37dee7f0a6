"""How far can an explanation be trusted?"""
