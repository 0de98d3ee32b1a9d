"""What a list of particles holds, and what is odd about it."""
