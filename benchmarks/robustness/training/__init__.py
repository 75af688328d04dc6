"""`blurvote train`: small nets to compare, trained plain and on changed pictures.

The comparison is that of Shanker, *Measuring Robustness of Image Classification Models* (2021):
on each data set two nets of different depth, each trained on the pictures as they are and on noisy
or geometrically changed ones, all tested on the same untouched pictures. Every net becomes a guard,
so that the other commands treat it like any other.
"""
