"""What quality says of correctness: pure functions over arrays.

Nothing here knows of FiftyOne, images or models. Arrays have one row per
image (or object); ``source`` names the original image a row was made from,
and every split, fold and interval keeps the rows of one source together.
"""
