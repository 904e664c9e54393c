"""What is hidden from a student: masks over the patch grid, (M, N) bool, True = hidden. Nothing of ours is imported."""
