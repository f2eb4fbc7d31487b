"""Confusion: how much a small, cheap ensemble disagrees on an image.

Albiero et al. 2023, "Confusing Large Models by Confusing Small Models".
Nothing here knows of FiftyOne: arrays, torch modules and files.
"""
