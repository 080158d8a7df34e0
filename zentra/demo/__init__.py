"""The main job as a story: one process tree, real HTTP, from a charge to a matched settlement line."""
